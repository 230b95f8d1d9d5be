package control

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	// backupMessage is the size of a message that holds a piece of a backup.
	backupMessage = 128 << 10

	// backupPatience is how long who asked for a backup may take nothing of
	// it. Until then the store keeps what was overwritten.
	backupPatience = time.Minute
)

var errStalled = errors.New("who asked for the backup takes nothing of it")

// Backup sends what the Host writes. The Host writes into a pipe, so that it
// ends in time where the peer does not read and Send does not return.
func (d *daemon) Backup(r *controlv1.BackupRequest, stream grpc.ServerStreamingServer[controlv1.BackupResponse]) error {
	from, to := io.Pipe()
	var summary *controlv1.BackupSummary
	var panicked any // by the Host: unless it is told of here, that ends the daemon
	done := make(chan error, 1)
	go func() {
		err := errors.New("the backup broke off")
		defer func() {
			panicked = recover()
			to.CloseWithError(err) // nil: the end
			done <- err
		}()
		summary, err = d.host.Backup(stream.Context(), r, to)
	}()
	err := sendBackup(from, stream)
	from.CloseWithError(errors.Join(errors.New("the backup is not wanted any more"), err))
	failed := <-done
	if panicked != nil {
		panic(panicked)
	}
	if failed != nil {
		return statusOf(failed)
	}
	if err != nil {
		return err
	}
	return stream.Send(&controlv1.BackupResponse{Summary: summary})
}

// sendBackup sends what comes out of the pipe.
func sendBackup(from *io.PipeReader, stream grpc.ServerStreamingServer[controlv1.BackupResponse]) error {
	watchdog := time.AfterFunc(backupPatience, func() { from.CloseWithError(errStalled) })
	defer watchdog.Stop()
	for {
		piece := make([]byte, backupMessage)
		n, err := io.ReadFull(from, piece)
		if n > 0 {
			watchdog.Reset(backupPatience)
			if err := stream.Send(&controlv1.BackupResponse{Data: piece[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		watchdog.Reset(backupPatience)
	}
}
