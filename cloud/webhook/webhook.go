// Package webhook asks programs of an account's owner, by HTTP: the targets that
// are registered, and one signed request to one of them.
//
//	device ── POST /svc/diagnosis ──▶ cloud ── Call ──▶ dial, if the address may be dialled ──▶ https://…
//	                                                      JSON, webhook-signature  ◀── JSON ──
//
// An address is looked at when it is dialled, after the name was resolved, so
// that no name leads inside that did not when it was registered (threats rule
// 20). Redirects are not followed, answers are bounded, and nothing is kept of
// them.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/farreach/farreach/internal/secret"
	"github.com/farreach/farreach/oic"
	"github.com/farreach/farreach/store"
)

const (
	maxTargets = 10        // of an account
	maxURL     = 2048      // bytes
	maxBody    = 256 << 10 // of a request and of an answer, bytes
	patience   = 10 * time.Second
	secretMark = "whsec_" // what secrets begin with (Standard Webhooks)
)

// Config says how targets are asked. Only Store has no default.
type Config struct {
	Store *store.Store

	// Private lets targets be at addresses of this machine and its networks: for
	// an operator who knows all who may register one.
	Private bool
}

// Target is where a webhook goes. Secret is known to both sides.
type Target struct {
	Account string    `json:"account"`
	Name    string    `json:"name"` // letters, digits and dashes, 32 bytes at most
	URL     string    `json:"url"`
	Secret  string    `json:"secret"` // 24 random bytes, as base64
	Created time.Time `json:"created"`
}

// Answer is what a target said, of whatever status.
type Answer struct {
	Status int // of HTTP
	Type   string
	Body   []byte
}

// Webhooks is the targets of all accounts. Its methods may be called from
// several goroutines at once. A refusal is an *oic.StatusError.
type Webhooks struct {
	targets *store.View[Target]
	client  *http.Client
	adding  sync.Mutex // held from the look at how many there are until there is one more
}

// Open reads the targets from the store. Close is to be called at the end.
func Open(ctx context.Context, cfg Config) (*Webhooks, error) {
	t, err := store.OpenTable[Target](ctx, cfg.Store, "webhooks", 0)
	if err != nil {
		return nil, err
	}
	view, err := store.OpenView(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: patience, Control: func(_, address string, _ syscall.RawConn) error {
		if cfg.Private {
			return nil
		}
		return outside(address)
	}}
	transport := &http.Transport{ // no proxy: it would dial what we must not
		DialContext: dialer.DialContext, TLSHandshakeTimeout: patience, ResponseHeaderTimeout: patience,
		MaxResponseHeaderBytes: 32 << 10, MaxIdleConns: 64, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	client := &http.Client{Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Webhooks{targets: view, client: client}, nil
}

// Close ends what Open started.
func (w *Webhooks) Close() {
	w.targets.Close()
	w.client.CloseIdleConnections()
}

// names are those that a target may have.
var names = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Add registers a target of an account and returns the secret with which
// requests to it are signed.
func (w *Webhooks) Add(ctx context.Context, account, name, address string) (Target, error) {
	u, err := url.Parse(address)
	switch {
	case !names.MatchString(name):
		return Target{}, oic.Errorf(oic.BadRequest, "the name of a webhook is lower-case letters, digits and dashes, 32 at most")
	case err != nil || len(address) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil:
		return Target{}, oic.Errorf(oic.BadRequest, "a webhook goes to an https:// or http:// URL without a password")
	}
	w.adding.Lock()
	defer w.adding.Unlock()
	if len(w.List(account)) >= maxTargets {
		return Target{}, oic.Errorf(oic.Forbidden, "%d webhooks are all that an account may have", maxTargets)
	}
	t := Target{account, name, address, secret.Token(secretMark).Reveal(), time.Now().UTC()}
	err = w.targets.Create(ctx, store.Key(account, name), t)
	if errors.Is(err, store.ErrExists) {
		err = oic.Errorf(oic.Conflict, "there is a webhook of this name")
	}
	return t, err
}

// List returns the targets of an account, by name.
func (w *Webhooks) List(account string) (list []Target) {
	for _, t := range w.targets.All() {
		if t.Account == account {
			list = append(list, *t)
		}
	}
	slices.SortFunc(list, func(x, y Target) int { return strings.Compare(x.Name, y.Name) })
	return list
}

// Remove takes a target away.
func (w *Webhooks) Remove(ctx context.Context, account, name string) error {
	key := store.Key(account, name)
	if w.targets.Get(key) == nil {
		return errNone
	}
	return w.targets.Delete(ctx, key)
}

// Purge removes all targets of an account.
func (w *Webhooks) Purge(ctx context.Context, account string) (err error) {
	for _, t := range w.List(account) {
		err = errors.Join(err, w.targets.Delete(ctx, store.Key(account, t.Name)))
	}
	return err
}

var errNone = oic.Errorf(oic.NotFound, "no such webhook")

// Call sends body, which is JSON, to a target and returns what it answered. It
// is a 4.04 without such a target, 5.04 if it takes longer than 10 s, and 5.02
// if it cannot be reached, redirects or says too much. What exactly went wrong
// is in the error's text, for its owner.
func (w *Webhooks) Call(ctx context.Context, account, name, id string, body []byte) (Answer, error) {
	t := w.targets.Get(store.Key(account, name))
	switch {
	case t == nil:
		return Answer{}, errNone
	case len(body) > maxBody:
		return Answer{}, oic.Errorf(oic.TooLarge, "a webhook takes %d bytes", maxBody)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return Answer{}, oic.Errorf(oic.BadGateway, "webhook %s: %v", name, err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "farreach")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", Sign(t.Secret, id, stamp, body))
	resp, err := w.client.Do(req)
	if err != nil {
		return Answer{}, unreached(name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return Answer{}, unreached(name, err)
	case len(b) > maxBody:
		return Answer{}, oic.Errorf(oic.BadGateway, "webhook %s: it answered more than %d bytes", name, maxBody)
	case resp.StatusCode/100 == 3:
		return Answer{}, oic.Errorf(oic.BadGateway, "webhook %s: it redirects, which is not followed", name)
	}
	return Answer{resp.StatusCode, resp.Header.Get("Content-Type"), b}, nil
}

func unreached(name string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return oic.Errorf(oic.GatewayTimeout, "webhook %s: no answer within %v", name, patience)
		}
		err = e.Err // without the URL, which may hold a secret
	}
	return oic.Errorf(oic.BadGateway, "webhook %s: %v", name, err)
}

// Sign is the signature of a request, as Standard Webhooks has it: HMAC-SHA256
// of its id, time and body by the secret.
func Sign(key, id, stamp string, body []byte) string {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(key, secretMark))
	if err != nil {
		raw = []byte(key)
	}
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "%s.%s.", id, stamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// inside are the networks that are nobody's outside, beside those that netip
// knows.
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), // these hold others
}

// outside refuses an address that may lead to this machine or its networks.
func outside(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return fmt.Errorf("%s is not an address of the internet", a)
	}
	return nil
}
