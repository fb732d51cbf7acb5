// Package bench compares the cost of a call with that of the same call written by
// hand. chats/BENCHMARKS.md explains each row.
package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// serverRole is the environment variable that makes this binary the server. In a
// process of its own its allocations do not count as the client's.
const serverRole = "YMCHATS_BENCH_SERVER"

// market is the server that all benchmarks use.
var market serverInfo

func TestMain(m *testing.M) {
	if os.Getenv(serverRole) != "" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code, err := runWithServer(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runWithServer(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	stop, err := startServer()
	if err != nil {
		return 1, err
	}
	defer stop()
	if err := trust(dir, market.Authorities); err != nil {
		return 1, err
	}
	code := m.Run()
	return code, printTable(os.Stdout)
}

// trust makes the default client trust the server's certificates. It must run before
// the first handshake, which reads the authorities. Where SSL_CERT_FILE has no effect
// (macOS, Windows) the rows over TLS are skipped.
func trust(dir, authorities string) error {
	path := filepath.Join(dir, "authorities.pem")
	if err := os.WriteFile(path, []byte(authorities), 0o600); err != nil {
		return err
	}
	return os.Setenv("SSL_CERT_FILE", path)
}

// startServer runs the server until stop or until this process ends.
func startServer() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), serverRole+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the server did not start: %w", err)
	}
	stop = func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}
	return stop, json.Unmarshal(line, &market)
}
