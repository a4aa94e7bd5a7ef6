-- Prosody 0.12 or later as the XMPP server of a Farreach home.
--
-- Replace home.example, and the certificate, which must be for that name; then
-- prosodyctl adduser home@home.example makes the account.

pidfile = "/run/prosody/prosody.pid"
data_path = "/var/lib/prosody"

c2s_ports = { 5222 }
c2s_direct_tls_ports = { 5223 }
c2s_require_encryption = true
ssl = {
	key = "/etc/prosody/certs/home.example.key";
	certificate = "/etc/prosody/certs/home.example.crt";
}

-- Passwords are kept as SCRAM verifiers. PLAIN is not offered.
authentication = "internal_hashed"
password_hash = "SHA-256"
disable_sasl_mechanisms = { "PLAIN", "OAUTHBEARER" }

-- Blocks of 65,535 bytes must pass, and fast: each is 87,380 characters.
c2s_stanza_size_limit = 262144
limits = { c2s = { rate = "4mb/s"; burst = "4s" } }

-- A lamp that is gone must not look alive: without a resumed stream siblings
-- know at once, with one after a minute.
smacks_hibernation_time = 60
c2s_timeout = 60

modules_enabled = { "disco", "roster", "saslauth", "tls", "smacks", "ping", "version", "posix" }
modules_disabled = { "s2s", "offline" } -- nothing is stored for whoever is away

log = { info = "*syslog" }

VirtualHost "home.example"
