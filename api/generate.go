// Package api holds the configuration that turns the contracts into Go. Run
// go generate after every change to openapi.yaml or to a file in this directory.
package api

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config oapi-codegen.client.yaml ../openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config oapi-codegen.notifications.yaml notifications.openapi.yaml
