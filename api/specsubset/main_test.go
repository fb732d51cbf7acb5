package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// document is the part of the output that the tests read.
type document struct {
	Components struct {
		Schemas map[string]struct {
			Enum          []string
			OneOf         []map[string]string
			Discriminator struct{ Mapping map[string]string }
		}
	}
}

func TestRun_KeepsChatsAndPing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run("../notifications.openapi.yaml", &out))
	var doc document
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
	request := doc.Components.Schemas["SendNotificationRequest"]
	assert.Equal(t,
		[]string{"CHAT_ARBITRAGE_FINISHED", "CHAT_ARBITRAGE_STARTED", "CHAT_CREATED", "CHAT_MESSAGE_SENT", "PING"},
		slices.Sorted(maps.Keys(request.Discriminator.Mapping)))
	alternatives := make([]string, 0, len(request.OneOf))
	for _, alternative := range request.OneOf {
		alternatives = append(alternatives, alternative["$ref"])
	}
	assert.ElementsMatch(t, slices.Collect(maps.Values(request.Discriminator.Mapping)), alternatives)
	assert.Len(t, doc.Components.Schemas["NotificationType"].Enum, 17, "the enum keeps all its values")
}

func TestRun_RejectsOtherContracts(t *testing.T) {
	t.Parallel()
	require.Error(t, run("missing.yaml", io.Discard))
	require.ErrorContains(t, run("../../openapi.yaml", io.Discard), "no schema SendNotificationRequest")

	ours, err := os.ReadFile("../notifications.openapi.yaml")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "plain.yaml")
	plain := strings.Replace(string(ours), "discriminator:", "x-discriminator:", 1)
	require.NoError(t, os.WriteFile(path, []byte(plain), 0o600))
	require.ErrorContains(t, run(path, io.Discard), "no discriminator")
}
