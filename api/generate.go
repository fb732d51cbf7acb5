// Package api holds what turns the contracts into Go: run go generate after
// every change to openapi.yaml or to a file in this folder.
package api

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config client.yaml ../openapi.yaml
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config notification.yaml notifications.yaml
