package rae

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/farreach/farreach/xmpp"
	"github.com/farreach/farreach/xmpp/sasl"
	"github.com/farreach/farreach/xmpp/stanza"
	"github.com/farreach/farreach/xmpp/stream"
)

// Status is how an endpoint stands with its server, as oic.ra.xmpp says it
// (RA-036).
type Status string

// The statuses. There is no other, such as "connecting".
const (
	NotInitialized Status = "NotInitialized" // not configured, or the first attempt has not ended
	Connected      Status = "Connected"      // bound, and presence was sent (RA-060)
	Error          Status = "Error"
)

// State is a Status, and of Error why: "auth-failed", "tls-failed",
// "host-unreachable", "jid-changed", "conflict" or "timeout", or "failed" for
// anything else, and a detail behind ": ". A stream that was there and is lost
// has "reconnecting: " in front of that. No secret is in it.
type State struct {
	Status Status
	Reason string
}

// State is how the endpoint stands with its server now.
func (e *Endpoint) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.orInitial()
}

// orInitial is s, or NotInitialized for the zero State.
func (s State) orInitial() State {
	if s.Status == "" {
		s.Status = NotInitialized
	}
	return s
}

func (e *Endpoint) setState(s State) {
	e.telling.Lock()
	defer e.telling.Unlock()
	e.mu.Lock()
	same := e.state.orInitial() == s.orInitial()
	e.state = s
	e.mu.Unlock()
	if !same && e.cfg.OnState != nil {
		e.cfg.OnState(s.orInitial())
	}
}

// arrived notes that the presence of a session was sent.
func (e *Endpoint) arrived(s *xmpp.Session) {
	e.mu.Lock()
	e.there = s
	if e.next != nil {
		close(e.next)
		e.next = nil
	}
	e.mu.Unlock()
	e.log.Info("remote access connected", "jid", s.JID())
	e.setState(State{Status: Connected})
}

// changed takes what the client tells of its connection. A session that is new
// counts once its presence is sent; one that was resumed counts at once.
func (e *Endpoint) changed(c xmpp.Status) {
	if c.Online {
		if e.session() != nil {
			e.setState(State{Status: Connected})
		}
		return
	}
	why := reason(c.Err)
	if e.State().Status == Connected && !strings.HasPrefix(why, "conflict") {
		why = "reconnecting: " + why
	}
	e.setState(State{Error, why})
}

// reason says in the words of A-04 why a connection failed or was lost.
func reason(err error) string {
	if word, detail := authReason(err); word != "" {
		return word + ": " + detail
	}
	if word, detail := tlsReason(err); word != "" {
		return word + ": " + detail
	}
	if told, ok := errors.AsType[*stream.Error](err); ok && told.Condition == stream.Conflict {
		return "conflict: somebody else has logged in with the same name"
	}
	switch {
	case errors.Is(err, xmpp.ErrRenamed):
		return "jid-changed: the server gave another address than was asked for"
	case errors.Is(err, xmpp.ErrSilent):
		return "timeout: no sign of life from the server"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "timeout: the server does not answer"
	}
	if detail := netReason(err); detail != "" {
		return "host-unreachable: " + detail
	}
	return "failed: " + shortly(err)
}

func authReason(err error) (word, detail string) {
	if e, ok := errors.AsType[*xmpp.AuthError](err); ok {
		return "auth-failed", e.Condition
	}
	if _, ok := errors.AsType[*sasl.Failure](err); ok {
		return "auth-failed", "the server does not know the password itself"
	}
	if e, ok := errors.AsType[*stanza.Error](err); ok && e.Condition == "not-allowed" {
		return "auth-failed", "the password is for another device" // of the bind
	}
	if errors.Is(err, sasl.ErrTooWeak) {
		return "auth-failed", "the server offers no login that is strong enough"
	}
	return "", ""
}

func tlsReason(err error) (word, detail string) {
	const failed = "tls-failed"
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return failed, "the certificate is for another name"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return failed, "the certificate is from somebody unknown"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return failed, "the certificate is not valid now"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failed, "the certificate is not valid"
	}
	if errors.Is(err, xmpp.ErrNoTLS) || errors.Is(err, xmpp.ErrClearText) {
		return failed, "the server offers no TLS"
	}
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	if alert || record {
		return failed, "the handshake failed"
	}
	return "", ""
}

// netReason says what is wrong on the way to the server; "": nothing.
func netReason(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return "no such host"
		}
		return "the name service does not answer"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, xmpp.ErrEnded):
		return "the server closed the stream"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return "connection lost"
	}
	if e, ok := errors.AsType[*stream.Error](err); ok {
		return "the server says " + e.Condition
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return shortly(e.Err)
	}
	return ""
}

// maxReason is how long a detail may be, bytes.
const maxReason = 128

// shortly is the first line of err, or the beginning of it. A refusal of the
// server is its condition.
func shortly(err error) string {
	if err == nil {
		return "no reason known"
	}
	if e, ok := errors.AsType[*stanza.Error](err); ok {
		return e.Condition
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if len(line) > maxReason {
		line = strings.ToValidUTF8(line[:maxReason], "")
	}
	return line
}
