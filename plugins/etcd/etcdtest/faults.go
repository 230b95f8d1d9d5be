package etcdtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Leader returns the member that leads. All must answer.
func (c *Cluster) Leader() *Member {
	c.tb.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, s := range c.status() {
			if s.Status.Leader == 0 || s.Status.Leader != s.Status.Header.Member {
				continue
			}
			for _, m := range c.Members {
				if m.URL == s.Endpoint {
					return m
				}
			}
		}
	}
	c.tb.Fatal("no member of etcd leads")
	return nil
}

// A memberStatus is a part of what "etcdctl endpoint status" tells.
type memberStatus struct {
	Endpoint string
	Status   struct {
		Header struct {
			Member   uint64 `json:"member_id"`
			Revision int64
		}
		Leader uint64
	}
}

// status returns what the members say of themselves that answer.
func (c *Cluster) status() (all []memberStatus) {
	out, err := c.try("endpoint", "status", "--write-out", "json")
	if err != nil || json.Unmarshal(out, &all) != nil {
		return nil
	}
	return all
}

// Compact makes the cluster forget what was before now.
func (c *Cluster) Compact() {
	c.tb.Helper()
	all := c.status()
	if len(all) == 0 {
		c.tb.Fatal("etcd does not tell its revision")
	}
	latest := all[0].Status.Header.Revision
	for _, s := range all {
		latest = max(latest, s.Status.Header.Revision)
	}
	out, err := c.try("compaction", fmt.Sprint(latest))
	if err != nil && !bytes.Contains(out, []byte("has been compacted")) {
		c.tb.Fatalf("etcdctl compaction: %v: %s", err, out)
	}
}

// filler is what the keys begin with that Fill writes.
const filler = "filler/"

// Fill writes until the cluster is over its quota, which should be small.
func (c *Cluster) Fill() {
	c.tb.Helper()
	for i := range 200 {
		out, err := c.tryInput(strings.Repeat("x", 1<<20), "put", filler+strconv.Itoa(i))
		if err == nil {
			continue
		}
		if !bytes.Contains(out, []byte("database space exceeded")) {
			c.tb.Fatalf("fill etcd: %v: %s", err, out)
		}
		return
	}
	c.tb.Fatal("etcd is not full after 200 MiB; start it with a quota")
}

// Drain undoes Fill as an operator would: it compacts, defragments and disarms.
func (c *Cluster) Drain() {
	c.tb.Helper()
	c.Ctl("del", "--prefix", filler)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c.Compact()
		c.Ctl("defrag")
		c.Ctl("alarm", "disarm")
		if c.Ctl("alarm", "list") == "" {
			return
		}
	}
	c.tb.Fatal("etcd stays over its quota")
}

// SlowDisk makes every sync of m's disk take so much longer, until restore is
// called. Where there is no strace, or it may not do that, the test is skipped,
// or fails where CI is true.
func (m *Member) SlowDisk(by time.Duration) (restore func()) {
	m.tb.Helper()
	const syncs = "fsync,fdatasync"
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-p", strconv.Itoa(m.cmd.Process.Pid), //nolint:gosec // a test's
		"-e", "trace="+syncs, "-e", fmt.Sprintf("inject=%s:delay_enter=%d", syncs, by.Microseconds()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // on which it lets m go
	says, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	line := ""
	if err == nil {
		line, err = bufio.NewReader(says).ReadString('\n')
	}
	switch {
	case err == nil && strings.Contains(line, "attached"):
	case os.Getenv("CI") == "true":
		m.tb.Fatalf("no disk can be made slow; apt-get install strace, and let it trace: %v %s", err, line)
	default:
		m.tb.Skipf("no disk can be made slow: %v %s", err, line)
	}
	go func() { _, _ = io.Copy(io.Discard, says) }() // ends with strace
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends too when m does
		_ = cmd.Wait()
	}
}
