package pluginhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxHandshake = 16 << 10               // octets of the line that a plugin begins with
	drainFor     = 200 * time.Millisecond // for what a dead process has said last
)

// A process is one plugin as the kernel sees it. It is a runner in go-plugin's
// words; unlike go-plugin's own it is started by the launcher, leads a group that
// is killed as one, and never makes anybody wait for it.
type process struct {
	name   string
	cmd    *exec.Cmd
	dir    string // where its socket is
	launch *launcher

	handshake *io.PipeReader
	out       *os.File // read ends of its pipes
	errs      *os.File
	said      *output
	pipes     sync.WaitGroup

	begun   atomic.Bool // there is a process, or there was
	killing sync.Mutex
	reaped  bool // its number may be another's

	exited chan struct{} // closed when it is dead and reaped
	status error         // how it ended; after exited
}

// newProcess prepares the program in binary with env as its whole environment.
func newProcess(spec Spec, binary *os.File, env []string, dir string, l *launcher, said *output) (*process, error) {
	p := &process{name: spec.Path, dir: dir, launch: l, said: said, exited: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path:       "/proc/self/fd/3", // the copy, which stays open: a script is read from there
		Args:       []string{spec.Path},
		Env:        env,
		Dir:        "/",
		ExtraFiles: []*os.File{binary},
		SysProcAttr: &syscall.SysProcAttr{
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	}
	if spec.User == "" {
		return p, nil
	}
	who, err := credential(spec.User)
	if err != nil {
		return nil, err
	}
	p.cmd.SysProcAttr.Credential = who
	if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
		return nil, fmt.Errorf("user %q: %w", spec.User, err)
	}
	return p, nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	return c, nil
}

// Start starts the process.
func (p *process) Start(context.Context) error {
	out, outWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	errs, errsWrite, err := os.Pipe()
	if err != nil {
		return errors.Join(err, out.Close(), outWrite.Close())
	}
	p.out, p.errs, p.cmd.Stdout, p.cmd.Stderr = out, errs, outWrite, errsWrite
	p.launch.do(func() { err = p.cmd.Start() })
	err = errors.Join(err, outWrite.Close(), errsWrite.Close())
	if err != nil && p.cmd.Process == nil {
		return errors.Join(err, out.Close(), errs.Close())
	}
	p.begun.Store(true)
	var line *io.PipeWriter
	p.handshake, line = io.Pipe()
	p.pipes.Go(func() { p.readOut(line) })
	p.pipes.Go(func() { p.said.copy(p.errs) })
	go p.reap()
	return nil
}

// readOut hands on the first line, and says the rest in the log.
func (p *process) readOut(line *io.PipeWriter) {
	r := bufio.NewReaderSize(p.out, maxHandshake)
	first, err := r.ReadSlice('\n')
	_, _ = line.Write(first) // whoever waits for it may have left
	_ = line.CloseWithError(io.EOF)
	if err == nil {
		p.said.copy(r)
		return
	}
	_, _ = io.Copy(io.Discard, r)
}

// reap waits for the process to die, takes along what it started, and only then
// gives its number back to the kernel: else the number could be somebody else's.
func (p *process) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.kill()
	p.killing.Lock()
	p.status = p.cmd.Wait()
	p.reaped = true
	p.killing.Unlock()
	// What left the group may still hold the pipes: it is not waited for.
	soon := time.Now().Add(drainFor)
	_ = p.out.SetReadDeadline(soon)
	_ = p.errs.SetReadDeadline(soon)
	p.pipes.Wait()
	_ = p.out.Close() // only read from
	_ = p.errs.Close()
	close(p.exited)
}

// kill ends the group of the process, also a stopped one, and does not wait.
func (p *process) kill() {
	p.killing.Lock()
	defer p.killing.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

func (p *process) started() bool { return p.begun.Load() }

// ended says how the process ended.
func (p *process) ended() error {
	text := "it ended"
	if p.status != nil {
		text = "it ended: " + p.status.Error()
	}
	if last := p.said.lastLine(); last != "" {
		return fmt.Errorf("%s; the last it said: %q", text, last)
	}
	return errors.New(text)
}

// Kill ends the process for go-plugin, and never blocks.
func (p *process) Kill(context.Context) error {
	if p.started() {
		p.kill()
	}
	return nil
}

// Wait returns when the process is gone.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.status
}

// Stdout is the first line of it alone.
func (p *process) Stdout() io.ReadCloser { return p.handshake }

// Stderr is empty: it goes to the log on a way of its own.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name, ID and Diagnose describe it.
func (p *process) Name() string { return p.name }

// ID is its process id.
func (p *process) ID() string {
	if !p.started() {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

// Diagnose has nothing to add.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost takes a socket in the process's own folder, and nothing else.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.dir {
		return "", "", fmt.Errorf("it listens at %s %.200q, which is no socket in the folder that PLUGIN_UNIX_SOCKET_DIR names", network, address)
	}
	return network, address, nil
}

// HostToPlugin leaves addresses as they are.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
