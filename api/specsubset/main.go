// Specsubset prints the subset of a notifications contract that concerns chats
// as one JSON document, so that the subsets of two contracts can be compared:
//
//	go run ./api/specsubset api/notifications.openapi.yaml
//
// The contract may be a single file or the root of a tree of files.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

const schemaPrefix = "#/components/schemas/"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: specsubset CONTRACT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "specsubset:", err)
		os.Exit(1)
	}
}

func run(file string, out io.Writer) error {
	loader := openapi3.NewLoader()
	loader.IsExternalRefsAllowed = true
	doc, err := loader.LoadFromFile(file)
	if err != nil {
		return err
	}
	// In a tree of files, each schema is in a file of its name.
	doc.InternalizeRefs(context.Background(), func(_ *openapi3.T, ref openapi3.ComponentRef) string {
		return schemaName(ref.RefString())
	})
	if err := reduce(doc); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return json.NewEncoder(out).Encode(doc)
}

// reduce removes from the request's alternatives those whose discriminator value
// is neither PING nor begins with CHAT_. New values of that form stay, so that
// they are reported as drift. The enum NotificationType keeps all its values.
func reduce(doc *openapi3.T) error {
	if doc.Components == nil || doc.Components.Schemas["SendNotificationRequest"] == nil {
		return errors.New("no schema SendNotificationRequest")
	}
	request := doc.Components.Schemas["SendNotificationRequest"].Value
	if request.Discriminator == nil {
		return errors.New("SendNotificationRequest has no discriminator")
	}
	keep := map[string]bool{}
	mapping := request.Discriminator.Mapping
	for value, target := range mapping {
		if value != "PING" && !strings.HasPrefix(value, "CHAT_") {
			delete(mapping, value)
			continue
		}
		name := schemaName(target.Ref)
		keep[name] = true
		mapping[value] = openapi3.MappingRef{Ref: schemaPrefix + name}
	}
	var kept openapi3.SchemaRefs
	for _, alternative := range request.OneOf {
		if keep[schemaName(alternative.Ref)] {
			kept = append(kept, alternative)
		}
	}
	request.OneOf = kept
	return nil
}

// schemaName returns X for "#/components/schemas/X" and for "./X.yaml".
func schemaName(ref string) string { return strings.TrimSuffix(path.Base(ref), ".yaml") }
