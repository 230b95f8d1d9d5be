package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/bridges/radius/load"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/proof"
)

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure how fast a server is"}
	cmd.AddCommand(a.benchRadius(), a.benchAccounts())
	return cmd
}

// A radiusBench is what the flags of "bench radius" say.
type radiusBench struct {
	load.Config
	server, secretFile, method string
	account, accountsFile      string
	workingSet                 int
	from                       []string
	wrong                      float64
	serverPID                  int
	asJSON                     bool
}

func (a *app) benchRadius() *cobra.Command {
	var b radiusBench
	cmd := &cobra.Command{
		Use:   "radius",
		Short: "Put a RADIUS server under load, and check every reply",
		Long: `Put a RADIUS server, this one or any other, under load as many devices do at
once, and check the Response Authenticator and the Message-Authenticator of every
reply; one that has none is counted. By default so many requests wait for a reply at a time (--in-flight);
with --rate so many are sent each second, whatever the server does, and the time
to a reply counts from when its request was due.

These are real attempts. A server that delays its rejects delays this too: for
the throughput set reject_delay = "0s", and failures_per_second high enough.

Exit codes: 0 measured, 1 a reply was wrong, 3 nothing was answered.`,
		Args: exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.prepareBench(cmd.Context(), &b, cmd.Flags().Changed("rate"))
			defer clear(b.Secret)
			if err == nil {
				err = b.Check()
			}
			if err != nil {
				return usage(cmd, err)
			}
			cpu := &processClock{pid: b.serverPID}
			if err := cpu.check(); err != nil {
				return usage(cmd, err)
			}
			b.Begin, b.End = cpu.start, cpu.stop
			result, err := load.Run(cmd.Context(), b.Config)
			if err != nil {
				return err
			}
			return a.showBench(&b, &result, cpu.took)
		},
	}
	f := cmd.Flags()
	f.StringVar(&b.server, "server", "127.0.0.1:1812", "the server's `address`, with a port unless it is 1812")
	f.StringVar(&b.secretFile, "secret-file", "", "the `file` with the shared secret (required)")
	f.StringVar(&b.accountsFile, "accounts", "", "a `file` of accounts: a name, a comma and a password each line")
	f.StringVar(&b.account, "account", "", "the `name` of one account, with its password on standard input")
	f.IntVar(&b.workingSet, "working-set", 0, "take so many accounts of the file, from its beginning; 0 is all")
	f.BoolVar(&b.InOrder, "in-order", false, "take one account after the other, instead of any")
	f.StringVar(&b.method, "method", "pap", "the `method` to present passwords by: pap or mschapv2")
	f.Float64Var(&b.wrong, "wrong", 10, "`percent` of the requests that have a wrong password")
	f.IntVar(&b.InFlight, "in-flight", 512, "requests that wait for a reply at a time")
	f.Float64Var(&b.Rate, "rate", 0, "requests a second, instead of --in-flight")
	f.Float64Var(&b.Flood, "flood", 0, "bad packets a second beside them: their Message-Authenticator is wrong")
	f.StringArrayVar(&b.from, "from", nil, "an `address` to ask from; may be repeated")
	f.IntVar(&b.Ports, "ports", 0, "ports of each address to ask from; 0 is as many as are needed, and 8 at least")
	f.BoolVar(&b.Single, "single", false, "send every datagram by itself, as separate devices do (no UDP GSO)")
	f.DurationVar(&b.WarmUp, "warm-up", 2*time.Second, "how long to go before the measurement begins")
	f.DurationVar(&b.Duration, "duration", 10*time.Second, "how long to measure")
	f.DurationVar(&b.Repeat, "repeat", time.Second, "after which time a request is sent again")
	f.IntVar(&b.Tries, "tries", 3, "how often a request is sent, until it counts as lost")
	f.IntVar(&b.serverPID, "server-pid", 0, "the server's process, to count its processor time")
	jsonFlag(cmd, &b.asJSON)
	_ = cmd.MarkFlagRequired("secret-file")
	return cmd
}

// prepareBench reads what the flags name. The error is one of usage.
func (a *app) prepareBench(ctx context.Context, b *radiusBench, byRate bool) (err error) {
	if _, _, err := net.SplitHostPort(b.server); err != nil {
		b.server = net.JoinHostPort(strings.Trim(b.server, "[]"), "1812")
	}
	if b.Server, err = netip.ParseAddrPort(b.server); err != nil {
		return fmt.Errorf("--server: %w; names are not looked up here", err)
	}
	if b.Method = methodWords()[b.method]; b.Method != proof.MethodCleartext && b.Method != proof.MethodMSCHAPv2 {
		return fmt.Errorf("%q is no method that load can be made of; take pap or mschapv2", b.method)
	}
	for _, text := range b.from {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		b.From = append(b.From, address)
	}
	if b.wrong < 0 || b.wrong > 100 {
		return fmt.Errorf("--wrong %g is no percentage; take 0 to 100", b.wrong)
	}
	b.Wrong = b.wrong / 100
	if byRate {
		b.InFlight = 0
	}
	if (b.account == "") == (b.accountsFile == "") {
		return errors.New("give either --accounts or --account")
	}
	if b.Secret, err = config.ReadSecret(b.secretFile); err != nil {
		return err
	}
	if b.account != "" {
		text, err := a.readSecret(ctx, "Password", false)
		b.Accounts = []load.Account{{Name: b.account, Password: text}}
		return err
	}
	b.Accounts, err = readAccounts(b.accountsFile, b.workingSet)
	return err
}

// readAccounts reads up to most accounts; 0 is all.
func readAccounts(path string, most int) ([]load.Account, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []load.Account
	for in := bufio.NewScanner(f); in.Scan() && (most == 0 || len(all) < most); {
		name, password, ok := strings.Cut(in.Text(), ",")
		if !ok || name == "" || password == "" {
			return nil, fmt.Errorf("%s:%d: write a name, a comma and a password", path, len(all)+1)
		}
		all = append(all, load.Account{Name: name, Password: password})
	}
	return all, nil
}

// A processClock measures the processor time of another process, in all its
// threads.
type processClock struct {
	pid    int
	before time.Duration
	took   time.Duration
}

func (c *processClock) check() error {
	if c.pid == 0 {
		return nil
	}
	_, err := processTime(c.pid)
	return err
}

func (c *processClock) start() { c.before, _ = processTime(c.pid) }

func (c *processClock) stop() {
	if now, err := processTime(c.pid); err == nil && c.pid != 0 {
		c.took = now - c.before
	}
}

// clockTick is the unit of times in /proc on every architecture of Linux that
// Go runs on.
const clockTick = time.Second / 100

// processTime reads utime and stime of proc_pid_stat(5).
func processTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("--server-pid: %w", err)
	}
	// The name of the program, in brackets, may have anything in it.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, errors.New("--server-pid: /proc is not as it should be")
	}
	user, err1 := strconv.ParseInt(string(fields[utime]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[stime]), 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// A benchJSON is what "bench radius --json" prints. Times are in milliseconds.
type benchJSON struct {
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"replies_per_second"`
	Accepted     uint64  `json:"accepted"`
	Rejected     uint64  `json:"rejected"`
	Mistaken     uint64  `json:"mistaken"`
	Forged       uint64  `json:"forged"`
	Unsigned     uint64  `json:"unsigned"`
	Repeats      uint64  `json:"repeats"`
	Lost         uint64  `json:"lost"`
	Late         uint64  `json:"late"`
	Flooded      uint64  `json:"flooded,omitempty"`
	FloodAnswers uint64  `json:"flood_answers,omitempty"`
	P50          float64 `json:"p50_ms"`
	P90          float64 `json:"p90_ms"`
	P99          float64 `json:"p99_ms"`
	P999         float64 `json:"p99_9_ms"`
	Most         float64 `json:"max_ms"`
	Answered99   float64 `json:"p99_after_sending_ms"`
	Behind50     float64 `json:"sent_late_p50_ms"`
	Behind99     float64 `json:"sent_late_p99_ms"`
	Behind       float64 `json:"sent_late_ms"`
	Offload      bool    `json:"offload"`
	ServerCPU    float64 `json:"server_cpu_seconds,omitempty"`
	PerServerCPU float64 `json:"replies_per_server_cpu_second,omitempty"`
}

func benchOut(r *load.Result, cpu time.Duration) benchJSON {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	at := func(p float64) float64 { return ms(r.Latencies.Percentile(p)) }
	out := benchJSON{
		Seconds: r.Elapsed.Seconds(), PerSecond: r.PerSecond(), Accepted: r.Accepted, Rejected: r.Rejected, Mistaken: r.Mistaken, Forged: r.Forged, Unsigned: r.Unsigned,
		Repeats: r.Repeats, Lost: r.Lost, Flooded: r.Flooded, FloodAnswers: r.Answered,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Most: ms(r.Latencies.Most()), Offload: r.Offload,
		Late: r.Late, Answered99: ms(r.Answers.Percentile(99)), Behind50: ms(r.Behind.Percentile(50)), Behind99: ms(r.Behind.Percentile(99)), Behind: ms(r.Behind.Most()),
	}
	if cpu > 0 {
		out.ServerCPU, out.PerServerCPU = cpu.Seconds(), float64(r.Replies())/cpu.Seconds()
	}
	return out
}

// showBench prints the figures.
func (a *app) showBench(b *radiusBench, r *load.Result, cpu time.Duration) error {
	out := benchOut(r, cpu)
	if b.asJSON {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		a.printf("%.0f replies a second for %.1f s: %d accepted, %d rejected\n", out.PerSecond, out.Seconds, out.Accepted, out.Rejected)
		a.printf("  answered after ms: half %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% %.3f, all %.3f\n", out.P50, out.P90, out.P99, out.P999, out.Most)
		a.printf("  sent again %d, lost %d, accepted or rejected wrongly %d, not genuine %d\n", out.Repeats, out.Lost, out.Mistaken, out.Forged)
		if out.Late > 0 {
			a.printf("  genuine replies that came when nobody waited for them any more: %d\n", out.Late)
		}
		if out.Unsigned > 0 {
			a.printf("  without Message-Authenticator, so that they could be forged (CVE-2024-3596): %d\n", out.Unsigned)
		}
		if b.Rate > 0 {
			a.printf("  these count from when a request was due; from when it was sent: 99 %% %.3f\n", out.Answered99)
			a.printf("  sent by the load itself after it was due, ms: half %.3f, 99 %% %.3f, all %.3f\n", out.Behind50, out.Behind99, out.Behind)
		}
		if b.Flood > 0 {
			a.printf("  bad packets: %d, of which %d were answered\n", out.Flooded, out.FloodAnswers)
		}
		if cpu > 0 {
			a.printf("  the server used %.2f s of processor time: %.0f replies a server-CPU-second\n", out.ServerCPU, out.PerServerCPU)
		}
		a.printf("  datagrams of one port went to the kernel %s\n", map[bool]string{true: "in one piece (GSO)", false: "one by one"}[out.Offload])
	}
	switch {
	case r.Mistaken+r.Forged+r.Answered > 0:
		return errors.New("replies were wrong; \"keywicket radius test\" shows one")
	case r.Replies() == 0:
		return unavailableError{errors.New("no request was answered; \"keywicket radius test\" tries one")}
	}
	return nil
}
