package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/farreach/farreach/cmd/farreach/internal/pages"
	"github.com/farreach/farreach/rae"
)

// serveRemote is the process of a device, or of a client, on the XMPP server
// that is the first question. It writes its own name, and then answers as Serve
// does.
func serveRemote(ctx context.Context, kind string, questions *bufio.Scanner, out io.Writer) error {
	if !questions.Scan() {
		return io.ErrUnexpectedEOF
	}
	s, err := parseTarget(questions.Bytes())
	if err != nil {
		return err
	}
	begin := s.remoteClient
	switch kind {
	case kindRemoteAnswerer:
		return serveAnswerer(ctx, s, questions, out)
	case kindRemoteAsker:
		return serveAsker(ctx, s, questions, out)
	case kindRemoteDevice:
		begin = s.remoteDevice
	}
	m, err := begin(ctx)
	if err != nil {
		return err
	}
	defer m.stop()
	if kind == kindRemoteDevice { // as farreach device does when it has started
		if err := pages.GiveBack(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, m.Name())
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lamps []*rae.Remote
	for questions.Scan() {
		n := int64(0)
		switch what := questions.Text(); what {
		case askDevices:
			if lamps, err = m.awaitDevices(ctx, observedDevices); err == nil {
				n, err = m.getAll(ctx, lamps)
			}
		case askObserve:
			if err = observeAll(ctx, lamps, observations, &tasks); err == nil {
				n = observations
			}
		default:
			n = answer(what)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, n)
	}
	return nil
}

// getAll reads each lamp once, and returns how many there are.
func (m *remote) getAll(ctx context.Context, lamps []*rae.Remote) (int64, error) {
	var errs []error
	for _, lamp := range lamps {
		errs = append(errs, m.get(ctx, lamp))
	}
	return int64(len(lamps)), errors.Join(errs...)
}
