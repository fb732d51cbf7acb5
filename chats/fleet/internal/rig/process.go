package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	envRole   = "FLEET_RIG_ROLE"
	envConfig = "FLEET_RIG_CONFIG"
)

// Play plays the role of this process, if it has one, and exits.
func Play() {
	role := os.Getenv(envRole)
	if role == "" {
		return
	}
	if err := play(role, []byte(os.Getenv(envConfig))); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(role string, config []byte) error {
	switch role {
	case "marketplace":
		var c MarketplaceConfig
		if err := json.Unmarshal(config, &c); err != nil {
			return err
		}
		marketplace := NewMarketplace(c)
		address, err := serve(marketplace)
		if err != nil {
			return err
		}
		fmt.Println("ready", address, marketplace.key)
		select {}
	case "worker":
		var c WorkerConfig
		if err := json.Unmarshal(config, &c); err != nil {
			return err
		}
		return playWorker(c)
	default:
		return errors.New("unknown role " + role)
	}
}

// Process is a process that plays a role.
type Process struct {
	Address string
	Key     string // of a marketplace
	cmd     *exec.Cmd
	line    func(int, string)
	ready   chan []string
	ended   chan struct{}
	once    sync.Once
}

// StartMarketplace starts a Market in a separate process.
func StartMarketplace(c MarketplaceConfig) (*Process, error) { return start("marketplace", c, nil) }

// StartWorker starts a worker. line is called with its PID and each line of its output, one at a
// time, possibly before StartWorker returns.
func StartWorker(c WorkerConfig, line func(pid int, line string)) (*Process, error) {
	return start("worker", c, line)
}

func start(role string, config any, line func(int, string)) (*Process, error) {
	document, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(self), line: line, ready: make(chan []string, 1), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), envRole+"="+role, envConfig+"="+string(document))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.collect(stdout)
	select {
	case fields := <-p.ready:
		p.Address = fields[1]
		if len(fields) > 2 {
			p.Key = fields[2]
		}
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("the %s did not start", role)
	}
}

func (p *Process) collect(stdout io.Reader) {
	defer close(p.ended)
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return // a line truncated by a kill does not count
		}
		line = strings.TrimSuffix(line, "\n")
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "ready" {
			p.ready <- fields
			continue
		}
		if strings.HasPrefix(line, "failed:") {
			fmt.Fprintln(os.Stderr, line)
		}
		if p.line != nil {
			p.line(p.PID(), line)
		}
	}
}

// PID returns the process's ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill kills the process, as kill -9 does, and waits until it has ended. It is idempotent.
func (p *Process) Kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = p.cmd.Wait()
	})
}

// Stop interrupts a worker, waits until it has ended, and returns how long that took.
func (p *Process) Stop() time.Duration {
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	<-p.ended
	took := time.Since(began)
	p.Kill()
	return took
}

// Post posts a document to the process and decodes the response into result, unless result
// is nil.
func (p *Process) Post(path string, body, result any) error {
	document, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := httpClient.Post(p.Address+path, "application/json", bytes.NewReader(document))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, resp.Status, text)
	}
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(text, result)
}

var httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}

// CPU returns the CPU time that a process has used.
func CPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, n := range []int{11, 12, 13, 14} { // including children that have ended
		v, _ := strconv.ParseInt(fields[n], 10, 64)
		ticks += v
	}
	return time.Duration(ticks) * (time.Second / 100)
}
