package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/ymchats/ymchats-go/chats"
)

// contract is openapi.yaml, read once.
type contract struct {
	doc    *openapi3.T
	router routers.Router
	host   string // the real API: scheme and host
}

var load = sync.OnceValues(func() (*contract, error) {
	path, err := find("openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	host := doc.Servers[0].URL
	doc.Servers = nil // tests use their own hosts, so the path identifies the operation
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &contract{doc: doc, router: router, host: host}, nil
})

// find returns the path of a file in the repository's root. A test runs in the directory of
// its package, below the root; a program may run anywhere, but was built from a checkout.
func find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	path, err := findAbove(dir, name)
	if _, source, _, known := runtime.Caller(0); err != nil && known {
		return findAbove(filepath.Dir(source), name)
	}
	return path, err
}

func findAbove(dir, name string) (string, error) {
	for {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("contract: no %s above the working directory", name)
		}
		dir = parent
	}
}

func mustLoad() *contract {
	c, err := load()
	if err != nil {
		panic(err)
	}
	return c
}

// Route is the method and path of an operation.
type Route struct {
	Method string
	Path   string // with {businessId}
}

// Routes returns the routes of all operations of the contract.
func Routes() map[chats.Operation]Route {
	routes := map[chats.Operation]Route{}
	for path, item := range mustLoad().doc.Paths.Map() {
		for method, operation := range item.Operations() {
			routes[chats.Operation(operation.OperationID)] = Route{method, path}
		}
	}
	return routes
}

// RateLimits returns the requests per hour of each operation, from its
// x-rate-limit. Operations without an hourly limit are missing.
func RateLimits() map[chats.Operation]int {
	limits := map[chats.Operation]int{}
	for _, item := range mustLoad().doc.Paths.Map() {
		for _, operation := range item.Operations() {
			limit, _ := operation.Extensions["x-rate-limit"].(map[string]any)
			requests, isNumber := limit["requests"].(float64)
			if isNumber && limit["per"] == "hour" {
				limits[chats.Operation(operation.OperationID)] = int(requests)
			}
		}
	}
	return limits
}

// Enumeration returns the enum values of a schema, sorted, or nil if it has none.
func Enumeration(schema string) []string {
	ref := mustLoad().doc.Components.Schemas[schema]
	if ref == nil {
		return nil
	}
	var values []string
	for _, value := range ref.Value.Enum {
		values = append(values, fmt.Sprint(value))
	}
	slices.Sort(values)
	return values
}
