package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/xmpp/jid"
)

// provisions are the account and the server that the flags and the profile name.
func (a *app) provisions(r *provision) (account jid.JID, server raServer, err error) {
	if r.jid == "" {
		s, err := a.server()
		if err != nil {
			return account, server, err
		}
		r.jid = s.JID()
	}
	account, err = jid.Parse(r.jid)
	if err != nil || account.Local() == "" || !account.IsBare() {
		return account, server, misuse("--jid ann@home.example", "--jid %q is no account", r.jid)
	}
	s, err := a.profileOf(account)
	if err != nil {
		return account, server, err
	}
	server = raServer{cmp.Or(r.address, account.Domain()), cmp.Or(r.port, 5222)}
	if host, port, err := net.SplitHostPort(s.XMPP); err == nil && r.address == "" && r.port == 0 {
		n, _ := strconv.ParseUint(port, 10, 16) // a profile that makes no sense is refused by the device
		server = raServer{host, uint16(n)}
	}
	return account, server, nil
}

// provisionLogin is what the device at the end of p logs in with: the password that
// was named, else one that the server of the profile makes for it alone.
func (a *app) provisionLogin(ctx context.Context, r *provision, account jid.JID, p *path) (login raUser, err error) {
	var password secret.String
	if s, failed := a.profileOf(account); failed == nil && s.API() != "" && !a.named(r.password) {
		var di string
		if di, err = p.id(ctx); err == nil {
			password, err = a.deviceLogin(ctx, r.access, account, di)
		}
	} else {
		password, err = a.password(r.password)
	}
	return raUser{account.String(), base64.StdEncoding.EncodeToString([]byte(password.Reveal()))}, err
}

// id is the di of the device.
func (p *path) id(ctx context.Context) (string, error) {
	if p.di != "" {
		return p.di, nil
	}
	resp, err := p.device.Handle(ctx, &oic.Request{Href: "/oic/d"})
	if err != nil {
		return "", err
	}
	var rep struct {
		ID string `json:"di"`
	}
	err = oic.Decode(resp.Format, resp.Body, &rep)
	return rep.ID, err
}

// raLinks are where a device has the two resources.
type raLinks struct{ user, server string }

// findRA looks for them by their types; they are where the specification has
// them if the device does not say.
func findRA(ctx context.Context, p *path) (raLinks, error) {
	found := raLinks{"/XMPPUserResURI", "/XMPPResURI"}
	resp, err := p.device.Handle(ctx, &oic.Request{Href: "/oic/res"})
	if err != nil {
		if _, refused := errors.AsType[*oic.StatusError](err); refused {
			return found, nil
		}
		return found, err
	}
	sets, err := oic.ParseLinks(resp.Format, resp.Body)
	if err != nil {
		return found, nil
	}
	for _, set := range sets {
		for _, l := range set.Links {
			switch {
			case l.Matches([]string{"oic.ra.user"}):
				found.user = l.Href
			case l.Matches([]string{"oic.ra.xmpp"}):
				found.server = l.Href
			}
		}
	}
	return found, nil
}

// raRep is a representation of either resource. The reason has two names.
type raRep struct {
	JID     *string `json:"jid"`
	Address *string `json:"address"`
	Port    float64 `json:"port"`
	Status  string  `json:"status"`
	Reason  string  `json:"ErrorReason"`
	Error   string  `json:"error"`
}

// read takes into doc what resp says.
func (doc *raDoc) read(resp *oic.Response) error {
	var rep raRep
	if err := oic.Decode(resp.Format, resp.Body, &rep); err != nil {
		return err
	}
	if rep.JID != nil {
		doc.Account = *rep.JID
	}
	if rep.Address != nil {
		doc.Address, doc.Port = *rep.Address, uint16(rep.Port)
		doc.Status, doc.Reason = rep.Status, cmp.Or(rep.Reason, rep.Error)
	}
	return nil
}

// call asks one resource, and reads into doc what it is then.
func (p *path) call(ctx context.Context, op oic.Op, href string, body any, doc *raDoc) error {
	req := &oic.Request{Op: op, Href: href}
	if body != nil {
		b, err := oic.Encode(p.format, body)
		if err != nil {
			return err
		}
		req.Format, req.Body = p.format, b
	}
	resp, err := p.device.Handle(ctx, req)
	if err != nil {
		return err
	}
	if len(resp.Body) == 0 {
		return nil
	}
	return doc.read(resp)
}

// provision sets account and server (E-01), and returns where the state is. Only
// to whom the device listens a password is made.
func (p *path) provision(ctx context.Context, timeout time.Duration, login func(ctx context.Context) (raUser, error), server raServer, doc *raDoc) (href string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	both, err := findRA(ctx, p)
	if err != nil {
		return "", err
	}
	if err := p.call(ctx, oic.Retrieve, both.user, nil, doc); err != nil {
		return "", err
	}
	user, err := login(ctx)
	if err != nil {
		return "", err
	}
	doc.Account, doc.Address, doc.Port = user.JID, server.Address, server.Port
	if err := p.call(ctx, oic.Update, both.user, user, doc); err != nil {
		return "", err
	}
	return both.server, p.call(ctx, oic.Update, both.server, server, doc)
}

// settled watches the state until an attempt has ended. One that ended before is
// not shown any more since the settings were accepted.
func (p *path) settled(ctx context.Context, wait time.Duration, href string, doc *raDoc) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var failed error
	err := p.device.Observe(ctx, &oic.Request{Href: href}, func(resp *oic.Response) {
		if failed = doc.read(resp); failed != nil || doc.Status != "NotInitialized" {
			cancel()
		}
	})
	switch {
	case failed != nil:
		return failed
	case doc.Status != "NotInitialized":
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fail(exitTimeout, "farreach ra show, later", "the device has not tried yet")
	}
	return err
}

// raOutcome is nil for a device that is there; else it says why it is not.
func raOutcome(doc *raDoc) error {
	if doc.Status == "Connected" {
		return nil
	}
	code, try := exitFailed, "farreach doctor --xmpp "+doc.Account+", which looks at the server itself"
	switch word, _, _ := strings.Cut(strings.TrimPrefix(doc.Reason, "reconnecting: "), ":"); word {
	case "auth-failed":
		code, try = exitNotAllowed, "another --jid or --password-file"
	case "tls-failed":
		code, try = exitNotAllowed, "a certificate for the account's domain, from an authority that the device trusts (farreach device --ca-file)"
	case "host-unreachable":
		code, try = exitNoConnect, "another --address or --port, as seen from the device"
	case "timeout":
		code = exitTimeout
	}
	return fail(code, try, "%s: the device is not on the server: %s", doc.Target, doc.Reason)
}
