package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/farreach/farreach/internal/kept"
)

// Server says where a running server is and with what it is entered. As JSON
// it is the address file, as YAML the profile of a user; either can stand for
// the other.
type Server struct {
	PID          int    `json:"pid,omitempty" yaml:"pid,omitempty"`
	HTTP         string `json:"http,omitempty" yaml:"http,omitempty"`           // host:port, as all addresses
	HTTPS        bool   `json:"https,omitempty" yaml:"https,omitempty"`         // HTTP speaks TLS
	CoAPTCP      string `json:"coap_tcp,omitempty" yaml:"coap_tcp,omitempty"`   // absent if off
	CoAPSTCP     string `json:"coaps_tcp,omitempty" yaml:"coaps_tcp,omitempty"` // absent if off
	XMPP         string `json:"xmpp,omitempty" yaml:"xmpp,omitempty"`           // begins in clear; absent if off
	XMPPS        string `json:"xmpps,omitempty" yaml:"xmpps,omitempty"`         // begins with TLS; absent if off
	Domain       string `json:"domain,omitempty" yaml:"domain,omitempty"`
	Account      string `json:"account,omitempty" yaml:"account,omitempty"`
	PasswordFile string `json:"password_file,omitempty" yaml:"password_file,omitempty"` // absent once the password was changed
	CAFile       string `json:"ca_file,omitempty" yaml:"ca_file,omitempty"`
	TokenFile    string `json:"token_file,omitempty" yaml:"token_file,omitempty"`
	Data         string `json:"data,omitempty" yaml:"data,omitempty"`
}

// ErrNoProfile is the error of LoadProfile when there is no such profile.
var ErrNoProfile = errors.New("no such profile")

// API is the address under which the HTTP API answers, without a slash at
// the end; "" if s has none.
func (s *Server) API() string {
	switch {
	case s.HTTP == "" || strings.Contains(s.HTTP, "://"):
		return strings.TrimSuffix(s.HTTP, "/")
	case s.HTTPS:
		return "https://" + s.HTTP
	}
	return "http://" + s.HTTP
}

// Cloud is the address of the Cloud Interface, with TLS where there is a
// choice; "" if s has none.
func (s *Server) Cloud() string {
	if all := s.Clouds(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// JID is the account as an address of XMPP; "" if s has none.
func (s *Server) JID() string {
	if s.Account == "" || s.Domain == "" {
		return ""
	}
	return s.Account + "@" + s.Domain
}

// XMPPAddr is where the XMPP server is, and whether TLS begins there with the
// first byte, which takes fewer round trips; "" if the DNS knows.
func (s *Server) XMPPAddr() (addr string, direct bool) {
	if s.XMPPS != "" {
		return s.XMPPS, true
	}
	return s.XMPP, false
}

// Clouds are all URIs of the cloud, the best first. A WebSocket comes last: it
// is for networks that let nothing else out.
func (s *Server) Clouds() (all []string) {
	if s.CoAPSTCP != "" {
		all = append(all, "coaps+tcp://"+s.CoAPSTCP)
	}
	if s.CoAPTCP != "" {
		all = append(all, "coap+tcp://"+s.CoAPTCP)
	}
	if ws := s.WebSocket(); ws != "" {
		all = append(all, ws)
	}
	return all
}

// WebSocket is the address of the Cloud Interface on the port of the API; ""
// if there is none.
func (s *Server) WebSocket() string {
	scheme, addr, _ := strings.Cut(s.API(), "://")
	switch {
	case addr == "" || strings.Contains(addr, "/"): // what is below a path is no server's root
		return ""
	case s.XMPP != "" && s.CoAPSTCP == "": // farreach xmppd
		return ""
	}
	if scheme == "https" {
		return "coaps+ws://" + addr
	}
	return "coap+ws://" + addr
}

// LoadProfile reads the profile called name in dir. A name with a slash in it,
// or ending in .json, .yaml or .yml, is a file of its own; an address file
// will do. Files named in a profile are relative to it.
func LoadProfile(dir, name string) (*Server, error) {
	file := profileFile(dir, name)
	b, err := readBounded(file)
	if _, statErr := os.Stat(file); errors.Is(statErr, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoProfile, file)
	}
	if err != nil {
		return nil, err
	}
	s := new(Server)
	if err := yaml.UnmarshalWithOptions(b, s, yaml.Strict()); err != nil {
		return nil, syntaxError(filepath.Base(file), err)
	}
	for _, f := range []*string{&s.CAFile, &s.TokenFile, &s.PasswordFile} {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(filepath.Dir(file), *f)
		}
	}
	return s, nil
}

// SaveProfile writes the profile called name in dir.
func (s *Server) SaveProfile(dir, name string) error {
	profile := *s // what changes with each start, or is nobody's business, stays out
	profile.PID, profile.Data = 0, ""
	b, err := yaml.Marshal(&profile)
	if err != nil {
		return err
	}
	file := profileFile(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return kept.Write(file, b, 0o600)
}

// WriteAddrFile writes s for scripts that wait until the server is ready.
func (s *Server) WriteAddrFile(name string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	return kept.Write(name, b.Bytes(), 0o600)
}

func profileFile(dir, name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	switch filepath.Ext(name) {
	case ".json", ".yaml", ".yml":
		return name
	}
	return filepath.Join(dir, name+".yaml")
}
