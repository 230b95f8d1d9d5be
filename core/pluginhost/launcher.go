package pluginhost

import "runtime"

// A launcher starts processes, all from one thread. A process that is to die
// with its parent (PR_SET_PDEATHSIG) dies with the thread that started it, and
// the Go runtime ends threads when it likes.
type launcher struct{ jobs chan func() }

func newLauncher() *launcher {
	l := &launcher{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

// do runs job on the thread, and returns when it is done.
func (l *launcher) do(job func()) {
	done := make(chan struct{})
	l.jobs <- func() {
		defer close(done)
		job()
	}
	<-done
}

// close ends the thread, and with it every process that it started.
func (l *launcher) close() { close(l.jobs) }
