package store

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	defaultSync  = 10 * time.Millisecond
	serverSync   = 2 * time.Minute  // its own default: what syncer leaves to it
	startTimeout = 30 * time.Second // a log of many gigabytes is read at the start
)

// embedded is a nats-server in this process that nobody else can reach. It can
// be replaced by a new one while the connection to it reconnects.
type embedded struct {
	dir  string
	opts server.Options
	log  *slog.Logger
	lock *os.File

	mu  sync.Mutex // guards srv
	srv *server.Server
}

func startEmbedded(dir string, log *slog.Logger) (*embedded, error) {
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	removeSpools(dir)
	e := &embedded{dir: dir, lock: lock, log: log}
	e.opts = server.Options{
		ServerName:             "farreach",
		DontListen:             true,
		NoSigs:                 true,
		NoSystemAccount:        true,
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      1 << 60, // the disk is the limit, see watch
		JetStreamMaxMemory:     1 << 30, // readers' positions only
		SyncInterval:           serverSync,
		MaxPayload:             maxPayload,
	}
	if err := e.start(); err != nil {
		lock.Close()
		return nil, err
	}
	return e, nil
}

// start runs a new server. The caller holds mu or is the only one.
func (e *embedded) start() error {
	opts := e.opts // the server fills in defaults
	srv, err := server.NewServer(&opts)
	if err != nil {
		return err
	}
	srv.SetLoggerV2(serverLog{e.log}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("the embedded server did not start within %v", startTimeout)
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return errors.New("the embedded server cannot use its files: see the log")
	}
	e.srv = srv
	return nil
}

// InProcessConn connects to the server of this moment; nats.go calls it for
// every new connection.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	return srv.InProcessConn()
}

// sick says what keeps the server from writing; nil is healthy. While a table
// or log is being made, it may say that this is lost.
func (e *embedded) sick() error {
	if !e.srv.JetStreamEnabled() {
		return errors.New("the embedded server has given up writing")
	}
	for _, h := range e.srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if h.Type == server.HealthzErrorStream {
			return errors.New(h.Error)
		}
	}
	return nil
}

// restart replaces the server by a new one on the same files, if the disk
// takes writes again.
func (e *embedded) restart() error {
	if err := probe(e.dir); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
	return e.start()
}

func (e *embedded) close() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
	e.lock.Close() // releases the lock
}

// privateDir makes dir, or checks that nobody else may look into it.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("others may read %s (mode %#o): chmod 700 it", dir, mode)
	}
	return nil
}

// probe writes and syncs a file as large as a block of the log, and removes it.
func probe(dir string) (err error) {
	name := filepath.Join(dir, "probe")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	_, err = f.Write(make([]byte, 1<<20))
	return errors.Join(err, f.Sync(), f.Close())
}

// serverLog passes the server's log on: what it calls a notice is a detail here.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("store: " + fmt.Sprintf(format, v...))
}
func (l serverLog) Warnf(format string, v ...any) { l.log.Warn("store: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("store: " + fmt.Sprintf(format, v...))
}
func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error("store: " + fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(string, ...any) {}
func (l serverLog) Tracef(string, ...any) {}
