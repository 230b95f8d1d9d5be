package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	maxFaults   = 1000     // that are told; more are counted
	importBytes = 48 << 10 // of a request; the daemon takes 64 KiB
)

// An importFault is what is wrong with a line.
type importFault struct {
	line uint64
	text string
}

// A faultList keeps the first faults of a file, and counts the others. They
// come nearly in order: some from the daemon, later.
type faultList struct {
	total int64
	kept  []importFault
}

func (l *faultList) add(line uint64, text string) {
	l.total++
	l.kept = append(l.kept, importFault{line, text})
	if len(l.kept) >= 2*maxFaults {
		l.kept = slices.Clone(l.first())
	}
}

// first returns the first of them in the order of lines.
func (l *faultList) first() []importFault {
	slices.SortStableFunc(l.kept, func(a, b importFault) int { return cmp.Compare(a.line, b.line) })
	return l.kept[:min(len(l.kept), maxFaults)]
}

// A nameSet finds names that stand in a file twice. It keeps 128 bits of a
// keyed hash and the line, some 40 octets for each: a million names take 40 MB.
type nameSet struct {
	seeds [2]maphash.Seed
	lines map[[2]uint64]uint32
}

func newNameSet() *nameSet {
	return &nameSet{[2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, make(map[[2]uint64]uint32)}
}

// add returns the line where name stood before, or 0.
func (s *nameSet) add(name string, line uint64) (before uint32) {
	key := [2]uint64{maphash.String(s.seeds[0], name), maphash.String(s.seeds[1], name)}
	if before = s.lines[key]; before == 0 {
		s.lines[key] = uint32(line)
	}
	return before
}

// normalized returns the form in which names are compared; one that has none is
// refused for that.
func normalized(name string) string {
	if n, err := core.NormalizeAccount(name); err == nil {
		return n
	}
	return name
}

// An importPass reads the file once, and has its accounts checked or made.
type importPass struct {
	job      *importJob
	write    bool
	client   controlv1.AccountsClient
	alive    func()
	progress *progress

	names  *nameSet // of the check alone
	file   importReader
	batch  *controlv1.ImportRequest
	size   int
	stream grpc.BidiStreamingClient[controlv1.ImportRequest, controlv1.ImportResponse]

	mu     sync.Mutex // of what follows
	faults faultList
	exists bool // one of the faults is that an account is there
	made   int64
	equal  int64
}

func (a *app) newPass(job *importJob, d daemonClient, alive func(), write bool) *importPass {
	what := "checking"
	if write {
		what = "writing"
	}
	return &importPass{job: job, write: write, client: d.accounts, alive: alive, progress: a.newProgress(what, job.file.info.Size())}
}

// run reads the file and returns when the daemon has answered for all of it.
func (p *importPass) run(ctx context.Context) error {
	defer p.progress.end()
	if _, err := p.job.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.file, p.names = newImportReader(p.job.file, p.job.format), newNameSet()
	p.newBatch()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	if p.stream, err = p.client.Import(ctx); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- p.receive() }()
	err = p.send()
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: the daemon ended it, and receive knows why
		cancel()
		<-received
		return err
	}
	return <-received
}

func (p *importPass) newBatch() {
	p.batch, p.size = &controlv1.ImportRequest{Write: p.write, Resume: p.job.resume}, 0
}

// send sends the accounts of the file.
func (p *importPass) send() error {
	for {
		e, err := p.file.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.job.file.name, err)
		}
		if err := p.look(&e); err != nil {
			return err
		}
		if e.account == nil {
			continue
		}
		size := proto.Size(e.account) + 8
		if p.size+size > importBytes || len(p.batch.Accounts) == core.MaxImport {
			if err := p.flush(); err != nil {
				return err
			}
		}
		p.batch.Accounts, p.size = append(p.batch.Accounts, e.account), p.size+size
	}
	if err := p.flush(); err != nil {
		return err
	}
	return p.stream.CloseSend()
}

// look notes the faults of an entry that can be told without the daemon.
func (p *importPass) look(e *importEntry) error {
	if !p.write && e.account != nil && e.account.Name != "" {
		if before := p.names.add(normalized(e.account.Name), e.line); before != 0 {
			e.fault("the name stands in line %d already", before)
		}
	}
	if len(e.faults) == 0 {
		return nil
	}
	if p.write {
		return fmt.Errorf("%s was changed after it was checked: line %d has a fault", p.job.file.name, e.line)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range e.faults {
		p.faults.add(e.line, text)
	}
	return nil
}

func (p *importPass) flush() error {
	if len(p.batch.Accounts) == 0 {
		return nil
	}
	err := p.stream.Send(p.batch)
	p.newBatch()
	return err
}

// receive takes the daemon's answers, until the last.
func (p *importPass) receive() error {
	for {
		r, err := p.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.alive()
		p.progress.show(p.file.octets(), p.take(r))
	}
}

// take adds an answer up, and returns how many accounts are done.
func (p *importPass) take(r *controlv1.ImportResponse) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made += int64(r.Made)
	p.equal += int64(r.Equal)
	for _, f := range r.Faults {
		p.faults.add(f.Line, f.Text)
		p.exists = p.exists || f.Exists
	}
	return p.made + p.equal
}
