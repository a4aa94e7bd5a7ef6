package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/qrcode"
)

type pairingDoc struct {
	Schema  string    `json:"schema"`
	Code    string    `json:"code"`
	Expires time.Time `json:"expires"`
	Command string    `json:"command"`       // with which a device of this program joins
	URI     string    `json:"uri,omitempty"` // what the QR code says
}

func (a *app) pairCmd() *cobra.Command {
	var x access
	var noQR bool
	cmd := &cobra.Command{
		Use:   "pair",
		Short: "Make a one-time code with which a device joins your account",
		Long: `Makes a code, good once and for ten minutes. On a terminal it is shown as a QR
code, too, which says

  farreach:pair?at=CODE&cis=URL

with the names that the resource oic.r.coapcloudconf has for them: an onboarding
application writes both to the device. farreach device --code takes it as it is.`,
		Example: `  farreach pair
  code=$(farreach pair | cut -f1)`,
		GroupID: groupStart,
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.pair(cmd.Context(), x, !noQR) },
	}
	x.flags(cmd)
	cmd.Flags().BoolVar(&noQR, "no-qr", false, "show no QR code")
	return cmd
}

func (a *app) pair(ctx context.Context, x access, drawn bool) error {
	server, err := a.server()
	if err != nil {
		return err
	}
	api, err := a.api(x)
	if err != nil {
		return err
	}
	defer api.Close()
	code, err := api.NewCode(ctx)
	if err != nil {
		return err
	}
	text := code.Code.Reveal()
	doc := pairingDoc{"farreach.pairing/v1", text, code.Expires.UTC(), a.joinCommand(text), pairingURI(server.Cloud(), text)}
	if onlyHere(server.Cloud()) && code.URI != "" { // the server knows by what others find it
		doc.URI = code.URI
	}
	switch {
	case a.json:
		return a.screen().Doc(doc)
	case !a.terminal:
		return a.screen().Line(doc.Code, doc.Expires.Format(time.RFC3339), doc.Command)
	}
	if drawn {
		if err := a.draw(doc.URI); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.out, "code      %s\ngood for  %.0f min, once\n\nA device of this program joins with it so; others take it as their authorization code:\n\n  %s\n",
		doc.Code, time.Until(doc.Expires).Minutes(), doc.Command)
	return err
}

// pairingURI is the code and where it is good, as an onboarding application
// needs them; "" if the profile does not say where.
func pairingURI(cloud, code string) string {
	if cloud == "" {
		return ""
	}
	return pairingScheme + "pair?" + url.Values{"at": {code}, "cis": {cloud}}.Encode()
}

// onlyHere reports whether a URI leads to the loopback address, where other machines
// find themselves.
func onlyHere(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && net.ParseIP(u.Hostname()).IsLoopback()
}

const pairingScheme = "farreach:"

// parsePairing is the inverse of pairingURI. What is no such URI is a code
// alone. A plus sign stands for itself, whoever wrote the URI: a blank is in
// neither.
func parsePairing(typed string) (code, cloud string, err error) {
	if !strings.HasPrefix(strings.ToLower(typed), pairingScheme) {
		return typed, "", nil
	}
	other := errors.New("not as farreach:pair?at=CODE&cis=URL") // the code is not told
	u, err := url.Parse(typed)
	if err != nil || u.Opaque != "pair" {
		return "", "", other
	}
	said, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	if err != nil || said.Get("at") == "" {
		return "", "", other
	}
	return said.Get("at"), said.Get("cis"), nil
}

// draw shows a QR code, if the terminal has room for it.
func (a *app) draw(uri string) error {
	lines, width, err := qrcode.Draw(uri)
	if err != nil || uri == "" || width > a.width {
		return nil // the code itself follows, which is as good
	}
	_, err = io.WriteString(a.out, lines+"\n")
	return err
}

// joinCommand is the line that makes a lamp join with code.
func (a *app) joinCommand(code string) string {
	return a.command("device", "--type", "lamp", "--name", "new-lamp", "--code", code)
}

// command is a line that can be pasted into a shell on this machine: called as
// this program was, and with the profile that this command had.
func (a *app) command(args ...string) string {
	words := []string{a.call()}
	words = append(words, args...)
	if a.profile != defaultProfile {
		words = append(words, "--profile", a.profile)
	}
	if a.profileDir != a.defaultProfileDir() {
		words = append(words, "--profile-dir", a.profileDir)
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

// shellWord quotes w where a shell would not take it as it is.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:=+@,", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
