// Package apiclient speaks to the HTTP API of a farreach server, as any
// program outside of it would:
//
//	command ── Client ── HTTP, JSON, a bearer token ──▶ api ──▶ cloud
//	        ◀── events ── server-sent events ────────
package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/farreach/farreach/internal/secret"
)

// maxAnswer is the longest answer taken, in bytes.
const maxAnswer = 64 << 20

// ErrNoConnect wraps an error that kept the server from being reached.
var ErrNoConnect = errors.New("no connection")

// Config says where the API is. Only Base has no default.
type Config struct {
	Base    string        // "http://127.0.0.1:8080"
	Token   secret.String // an API token; empty: none is sent
	TLS     *tls.Config   // nil: the system's roots
	Timeout time.Duration // for one answer, and for the head of a stream; 0: 10 s

	// Account and its Password are in the place of a token that there is none of
	// yet: they are good for making one.
	Account  string
	Password secret.String
}

// Client is a client of one server. It may be used by several goroutines.
type Client struct {
	cfg  Config
	http *http.Client
}

// New returns a Client. It does not touch the network.
func New(cfg Config) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	transport := &http.Transport{ // no proxy: the server is the user's own
		TLSClientConfig:       cfg.TLS,
		TLSHandshakeTimeout:   cfg.Timeout,
		ResponseHeaderTimeout: cfg.Timeout,
		ForceAttemptHTTP2:     true,
	}
	refuse := func(*http.Request, []*http.Request) error { return errors.New("unexpected redirect") }
	return &Client{cfg: cfg, http: &http.Client{Transport: transport, CheckRedirect: refuse}}
}

// Close ends the connections that are kept open.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Base is where the API is.
func (c *Client) Base() string { return c.cfg.Base }

// Problem is the server's refusal (RFC 9457).
type Problem struct {
	Status int    `json:"status"` // of HTTP
	Title  string `json:"title"`
	Detail string `json:"detail"`

	// What the server tells of a device: the code with which it refused, as
	// "4.04", or since when it cannot be reached.
	Code  string    `json:"code"`
	Since time.Time `json:"since"`
}

func (p *Problem) Error() string {
	if p.Code != "" || !p.Since.IsZero() {
		return p.Detail
	}
	text := fmt.Sprintf("%d %s", p.Status, p.Title)
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return text
}

// call does one request below /api/v1 and decodes the answer into out; nil:
// it is thrown away. in nil: no body.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.read(resp, out)
}

// read decodes an answer into out; nil: it is thrown away.
func (c *Client) read(resp *http.Response, out any) error {
	if out == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer of %s: %w", c.cfg.Base, err)
	}
	return nil
}

// list gets all pages of a list, which is the member called name of each
// answer.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, name string) (all []T, err error) {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	for {
		var answer map[string]json.RawMessage
		if err := c.call(ctx, http.MethodGet, path, query, nil, &answer); err != nil {
			return nil, err
		}
		var part []T
		var next string
		if err := json.Unmarshal(answer[name], &part); err != nil {
			return nil, fmt.Errorf("answer of %s: %s: %w", c.cfg.Base, name, err)
		}
		if raw := answer["next"]; raw != nil {
			if err := json.Unmarshal(raw, &next); err != nil {
				return nil, fmt.Errorf("answer of %s: next: %w", c.cfg.Base, err)
			}
		}
		all = append(all, part...)
		if next == "" || len(part) == 0 {
			return all, nil
		}
		query.Set("cursor", next)
	}
}

// Healthy asks "/healthz" or "/readyz", which needs no token, and returns the
// server's time; zero if it does not tell.
func (c *Client) Healthy(ctx context.Context, path string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.Base+path, nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return time.Time{}, c.unreached(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return time.Time{}, problemOf(resp)
	}
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, nil
	}
	return now, nil
}

// send does a request and returns an answer of success, whose body the caller
// closes.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any, head http.Header) (*http.Response, error) {
	req, err := c.request(ctx, method, path, query, in)
	if err != nil {
		return nil, err
	}
	for name, values := range head {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, problemOf(resp)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	target := c.cfg.Base + "/api/v1" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Password != "" {
		req.SetBasicAuth(c.cfg.Account, c.cfg.Password.Reveal())
	} else if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token.Reveal())
	}
	return req, nil
}

// unreached says why no answer came. A certificate that is not trusted is a
// refusal of ours, and stays as it is.
func (c *Client) unreached(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which the message has anyway
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", c.cfg.Base, ctx.Err())
	case untrusted:
		return fmt.Errorf("%s: %w", c.cfg.Base, err)
	}
	return fmt.Errorf("%s: %w: %w", c.cfg.Base, ErrNoConnect, err)
}

func problemOf(resp *http.Response) error {
	p := new(Problem)
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || !strings.Contains(resp.Header.Get("Content-Type"), "json") || json.Unmarshal(b, p) != nil {
		p = new(Problem)
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	return p
}
