package rabridge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/internal/backoff"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/rae"
)

// stay is a device from when it comes until it goes.
type stay struct {
	a      *branch
	at     rae.Device
	di     string
	peer   oic.Observer
	log    *slog.Logger
	cancel context.CancelFunc
	over   chan struct{} // closed when run has returned
	look   chan struct{} // has one when it may have another name, or other links
}

func newStay(a *branch, at rae.Device, cancel context.CancelFunc) *stay {
	di := at.Name.Device()
	return &stay{a: a, at: at, di: di, peer: a.e.Open(at.JID), log: a.log.With("account", a.name, "device", di),
		cancel: cancel, over: make(chan struct{}), look: make(chan struct{}, 1)}
}

// maxRetry is the longest wait before a device is asked again that did not say
// what it is, or a store that could not keep it.
const maxRetry = time.Minute

// run has the device take part until ctx ends, or the cloud does not want it.
func (s *stay) run(ctx context.Context) {
	wait := backoff.Backoff{Max: maxRetry}
	for {
		select {
		case <-s.a.e.Complete(): // we are there ourselves
		case <-ctx.Done():
			return
		}
		began := time.Now()
		err := s.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case refused(err):
			s.log.Debug("device on XMPP is left alone", "reason", err)
			return
		}
		s.log.Debug("device on XMPP does not take part yet", "err", err)
		wait.Served(time.Since(began))
		if backoff.Sleep(ctx, wait.Next()) != nil {
			return
		}
	}
}

// refused reports whether the cloud does not want the device, or not any more.
func refused(err error) bool {
	if errors.Is(err, errClosed) {
		return true
	}
	refusal, ok := errors.AsType[refusedError](err)
	return ok && refusal.Status.Class() == 4 && refusal.Status != oic.TooMany
}

// refusedError is a refusal of the cloud, and not of the device.
type refusedError struct{ *oic.StatusError }

func byCloud(err error) error {
	if refusal, ok := errors.AsType[*oic.StatusError](err); ok {
		return refusedError{refusal}
	}
	return err
}

// errClosed says that the cloud has ended a session.
var errClosed = errors.New("the cloud has let it go")

// rereadEvery is how often a device is asked for its name and links that does not
// tell when they change.
const rereadEvery = 10 * time.Minute

// once has the device take part until the error that it returns.
func (s *stay) once(ctx context.Context) error {
	set, err := s.about(ctx)
	if err != nil {
		return err
	}
	who, links, err := s.a.cfg.Cloud.Adopt(ctx, s.a.name, set)
	if err != nil {
		return byCloud(err)
	}
	session := newSession(s)
	detach, err := s.a.cfg.Cloud.AttachSpare(ctx, who, session)
	if err != nil {
		return byCloud(err)
	}
	defer detach()
	s.a.cfg.OnChange(s.di, true)
	defer s.a.cfg.OnChange(s.di, false)
	s.log.Debug("device on XMPP takes part", "jid", s.at.JID, "links", len(links))
	w := newWatch(s, who)
	defer w.end()
	reread := time.NewTicker(rereadEvery)
	defer reread.Stop()
	for {
		w.settle(ctx, links)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-session.closed:
			return errClosed
		case <-s.look:
		case <-reread.C:
		}
		if set, err = s.about(ctx); errors.Is(err, errOther) {
			return err
		} else if err != nil { // it is there as it was
			time.AfterFunc(maxRetry, s.again)
			continue
		}
		if links, err = s.a.cfg.Cloud.Amend(ctx, who, set); err != nil {
			return byCloud(err)
		}
	}
}

// again has the name and the links of the device looked at anew.
func (s *stay) again() {
	select {
	case s.look <- struct{}{}:
	default: // that is about to happen
	}
}

// about asks the device what it is.
func (s *stay) about(ctx context.Context) (set cloudlink.Publication, err error) {
	set.Device, set.Gateway = s.di, s.at.Gateway
	if set.Name, err = s.name(ctx); err == nil {
		set.Links, err = s.links(ctx)
	}
	return set, err
}

// errOther says that who answers at the address of a device is another one.
var errOther = errors.New("another device answers in its place")

// name is how the device calls itself. Who cannot be asked, or says that it is
// another one, is no device: whoever has the account's password can come under any
// address.
func (s *stay) name(ctx context.Context) (string, error) {
	resp, err := s.peer.Handle(ctx, &oic.Request{Href: "/oic/d", Accept: oic.OCF})
	if err != nil {
		return "", err
	}
	var about struct {
		ID   string `json:"di"`
		Name string `json:"n"`
	}
	if err := oic.Decode(formatOf(resp), resp.Body, &about); err != nil {
		return "", err
	}
	if !strings.EqualFold(about.ID, s.di) {
		return "", errOther
	}
	return strings.TrimSpace(about.Name), nil
}

// links are those that the device has, without what is not for others to see.
func (s *stay) links(ctx context.Context) (links []oic.Link, err error) {
	resp, err := s.peer.Handle(ctx, &oic.Request{Href: "/oic/res", Accept: oic.OCF})
	if err != nil {
		return nil, err
	}
	sets, err := oic.ParseLinks(formatOf(resp), resp.Body)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		if set.Device == "" || strings.EqualFold(set.Device, s.di) {
			links = append(links, slices.DeleteFunc(set.Links, hidden)...)
		}
	}
	if !slices.ContainsFunc(links, func(l oic.Link) bool { return l.Href == "/oic/d" }) {
		links = append(links, oic.Link{Href: "/oic/d", Types: []string{s.at.Name.Type, "oic.wk.d"},
			Interfaces: []string{oic.IfRead, oic.IfBaseline}, Policy: oic.Policy{Mask: oic.Discoverable}})
	}
	return links[:min(len(links), maxLinks)], nil
}

// hidden reports whether a link leads to what is not for others, such as which
// account and server the device has, or to nothing that the cloud takes.
func hidden(l oic.Link) bool {
	return slices.Contains(l.Types, "oic.ra.xmpp") || l.Href == "/oic/res" || !strings.HasPrefix(l.Href, "/") || strings.ContainsAny(l.Href, "?#") || rae.Guarded(l.Href)
}

// formatOf is the format of a body, which not every device names.
func formatOf(resp *oic.Response) oic.ContentFormat {
	if resp.Format == oic.NoFormat {
		return oic.CBOR
	}
	return resp.Format
}
