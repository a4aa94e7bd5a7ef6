// Package e2e holds no code of the product, only tests of the whole: scripts
// that a user could have typed, processes that are killed, frozen and cut off,
// and conversations with other people's programs.
//
//	testdata/script ──▶ the binary, as a user has it
//	many devices, a lamp ── TCP, TLS ──▶ farreach up, farreach cloud ── kill -9, SIGSTOP, no cable
//	libcoap's coap-client ── UDP, TCP, TLS ──▶ our server, our cloud
//	our client, our binary ── UDP, TCP, TLS ──▶ libcoap's coap-server
//	our binary ── UDP, TLS, XMPP on three servers, from behind a NAT ──▶ one device
//	slixmpp, profanity on a terminal ── STARTTLS ──▶ our XMPP server
//
// A foreign program that is not installed skips its test, with the reason; with
// CI=true in the environment that is a failure. On Debian they are the packages
// that .ci/run installs.
package e2e
