package main

import (
	"bytes"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// documents parses a file, and refuses keys that are there twice.
func documents(t *testing.T, name string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var parsed map[string]any
		require.NoError(t, yaml.UnmarshalStrict(document, &parsed), name)
		all = append(all, parsed)
	}
	return all
}

// at follows keys and indexes.
func at(t *testing.T, node any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch key := step.(type) {
		case string:
			parent, ok := node.(map[string]any)
			require.True(t, ok, "no object at %v", key)
			node = parent[key]
		case int:
			parent, ok := node.([]any)
			require.True(t, ok && len(parent) > key, "no list at %v", key)
			node = parent[key]
		}
		require.NotNil(t, node, "nothing at %v of %v", step, path)
	}
	return node
}

func TestKubernetes_MatchesTheProgram(t *testing.T) {
	t.Parallel()
	all := documents(t, "kubernetes.yaml")
	require.Len(t, all, 2)
	assert.Equal(t, "Deployment", at(t, all[0], "kind"))
	assert.Equal(t, "Service", at(t, all[1], "kind"))
	pod := at(t, all[0], "spec", "template")
	for _, selector := range []any{at(t, all[0], "spec", "selector", "matchLabels"), at(t, all[1], "spec", "selector")} {
		assert.Equal(t, at(t, pod, "metadata", "labels"), selector)
	}
	container := at(t, pod, "spec", "containers", 0)
	grace, ok := at(t, pod, "spec", "terminationGracePeriodSeconds").(float64)
	require.True(t, ok)
	wait, ok := at(t, container, "lifecycle", "preStop", "sleep", "seconds").(float64)
	require.True(t, ok)
	assert.GreaterOrEqual(t, wait, 5.0, "the cluster sends requests until then")
	assert.Greater(t, time.Duration(grace-wait)*time.Second, stopTime)
	assert.Equal(t, "/healthz", at(t, container, "readinessProbe", "httpGet", "path"))
	assert.Equal(t, at(t, container, "ports", 1, "name"), at(t, container, "readinessProbe", "httpGet", "port"))
	assert.Equal(t, at(t, container, "ports", 0, "name"), at(t, all[1], "spec", "ports", 0, "targetPort"))
	assert.Equal(t, []any{"-listen", ":8080", "-admin", ":8081", "-poll", "10m"}, at(t, container, "args"))
	for n, name := range []string{"DATABASE_URL", "TRUSTED_PROXY"} {
		assert.Equal(t, name, at(t, container, "env", n, "name"))
	}
	checkProxy(t, at(t, container, "env", 1, "value"))
}

// checkProxy makes sure that the files trust no host of a network that others use: it could post
// events as Market.
func checkProxy(t *testing.T, value any) {
	t.Helper()
	text, ok := value.(string)
	require.True(t, ok)
	proxy, err := netip.ParsePrefix(text)
	require.NoError(t, err)
	assert.True(t, netip.MustParsePrefix("192.0.2.0/24").Overlaps(proxy) && proxy.IsSingleIP(), "%s is not a placeholder", proxy)
}

func TestCompose_MatchesTheProgram(t *testing.T) {
	t.Parallel()
	all := documents(t, "compose.yaml")
	require.Len(t, all, 1)
	fleet := at(t, all[0], "services", "fleet")
	grace, err := time.ParseDuration(at(t, fleet, "stop_grace_period").(string)) //nolint:forcetypeassert // it fails
	require.NoError(t, err)
	assert.Greater(t, grace, stopTime)
	assert.Contains(t, at(t, fleet, "command", 2), "go build -buildvcs=false", "the repository may belong to another user")
	assert.Contains(t, at(t, fleet, "environment", "DATABASE_URL"), "@postgres:5432/")
	checkProxy(t, at(t, fleet, "environment", "TRUSTED_PROXY"))
	assert.NotNil(t, at(t, all[0], "services", "postgres", "healthcheck"))
	assert.Equal(t, "service_healthy", at(t, fleet, "depends_on", "postgres", "condition"))
}
