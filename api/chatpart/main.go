// Chatpart prints that part of a contract of notifications which is about chats,
// as one JSON document, so that two contracts can be compared in that part:
//
//	go run ./api/chatpart api/notifications.yaml
//
// The contract may be one file or the root of a tree of files.
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

const internal = "#/components/schemas/"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: chatpart CONTRACT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chatpart:", err)
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
	// A tree of files has its schemas in files of their names.
	doc.InternalizeRefs(context.Background(), func(_ *openapi3.T, ref openapi3.ComponentRef) string {
		return schemaName(ref.RefString())
	})
	if err := reduce(doc); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return json.NewEncoder(out).Encode(doc)
}

// reduce leaves of the request's alternatives those of the chats and PING, by
// the words of the discriminator. What is added there later is left too: it is
// drift. The set of all words stays whole in the enumeration of NotificationType.
func reduce(doc *openapi3.T) error {
	if doc.Components == nil || doc.Components.Schemas["SendNotificationRequest"] == nil {
		return errors.New("no schema SendNotificationRequest")
	}
	request := doc.Components.Schemas["SendNotificationRequest"].Value
	if request.Discriminator == nil {
		return errors.New("SendNotificationRequest has no discriminator")
	}
	ours := map[string]bool{}
	mapping := request.Discriminator.Mapping
	for word, target := range mapping {
		if word != "PING" && !strings.HasPrefix(word, "CHAT_") {
			delete(mapping, word)
			continue
		}
		name := schemaName(target.Ref)
		ours[name] = true
		mapping[word] = openapi3.MappingRef{Ref: internal + name}
	}
	var kept openapi3.SchemaRefs
	for _, alternative := range request.OneOf {
		if ours[schemaName(alternative.Ref)] {
			kept = append(kept, alternative)
		}
	}
	request.OneOf = kept
	return nil
}

// schemaName is X of "#/components/schemas/X" and of "./X.yaml".
func schemaName(ref string) string { return strings.TrimSuffix(path.Base(ref), ".yaml") }
