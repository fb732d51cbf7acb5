//go:build tools

// Package tools pins the generator, so that everybody who refreshes gen gets
// the same code from the same contract.
package tools

import _ "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen"
