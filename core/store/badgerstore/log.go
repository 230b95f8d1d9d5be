package badgerstore

import (
	"fmt"
	"log/slog"
	"strings"
)

// badgerLog routes what Badger says. Its news of normal operation is only for
// those who debug.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) text(format string, args []any) string {
	return "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
}

func (l badgerLog) Errorf(format string, args ...any)   { l.log.Error(l.text(format, args)) }
func (l badgerLog) Warningf(format string, args ...any) { l.log.Warn(l.text(format, args)) }
func (l badgerLog) Infof(format string, args ...any)    { l.log.Debug(l.text(format, args)) }

// Debugf drops what Badger says at each write.
func (l badgerLog) Debugf(string, ...any) {}
