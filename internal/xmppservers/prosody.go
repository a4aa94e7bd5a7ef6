package xmppservers

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"os/exec"
	"path/filepath"
	"strings"
)

// prosodyConfig is filled in by prosody.
const prosodyConfig = `
run_as_root = true
daemonize = false
pidfile = "$dir/prosody.pid"
data_path = "$dir/data"
certificates = "$dir/certs"
plugin_paths = {}
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = { $tlsport }
http_ports = {}
https_ports = { $wssport }
http_default_host = "$domain"
c2s_require_encryption = true
c2s_stanza_size_limit = $stanza
c2s_timeout = 60
authentication = "internal_hashed"
password_hash = "$hash"
storage = "internal"
modules_enabled = { "disco", "roster", "saslauth", "tls", $smacks "ping", "version", "carbons", "posix", "websocket" }
modules_disabled = { "s2s", "offline" } -- offline would keep what says no-store, and be silent
smacks_hibernation_time = $resume
limits = {}
log = { { levels = { min = "info" }, to = "console" } }
ssl = { key = "$dir/tls/server.pem", certificate = "$dir/tls/server.pem" }
VirtualHost "$domain"
`

func (s *Server) prosody(dir string, cfg Config) (*exec.Cmd, error) {
	hashName, h := "SHA-1", sha1.New
	if cfg.SHA256 {
		hashName, h = "SHA-256", sha256.New
	}
	smacks := `"smacks",`
	if cfg.NoResume {
		smacks = ""
	}
	text := prosodyConfig
	if cfg.Text != "" {
		text = cfg.Text
	}
	config := s.configure(text, dir, cfg, "$hash", hashName, "$smacks", smacks)
	if err := writeFile(config, dir, "prosody.cfg.lua"); err != nil {
		return nil, err
	}
	for name, password := range cfg.Accounts {
		account, err := prosodyAccount(h, password)
		if err != nil {
			return nil, err
		}
		if err := writeFile(account, dir, "data", prosodyName(cfg.Domain), "accounts", prosodyName(name)+".dat"); err != nil {
			return nil, err
		}
	}
	return exec.Command("prosody", "-F", "--config", filepath.Join(dir, "prosody.cfg.lua")), nil
}

// prosodyName is a name as Prosody writes it into a file's name.
func prosodyName(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// prosodyAccount is what Prosody keeps of a password (RFC 5802, section 3),
// derived here because a test should not start a program for each account.
func prosodyAccount(h func() hash.Hash, password string) (string, error) {
	const iterations = 10_000
	salt := rand.Text()
	salted, err := pbkdf2.Key(h, password, []byte(salt), iterations, h().Size())
	if err != nil {
		return "", err
	}
	key := func(what string) []byte {
		mac := hmac.New(h, salted)
		mac.Write([]byte(what))
		return mac.Sum(nil)
	}
	stored := h()
	stored.Write(key("Client Key"))
	return fmt.Sprintf("return { [\"iteration_count\"] = %d; [\"salt\"] = %q; [\"stored_key\"] = \"%x\"; [\"server_key\"] = \"%x\"; };\n",
		iterations, salt, stored.Sum(nil), key("Server Key")), nil
}
