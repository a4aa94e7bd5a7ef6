package directory

import (
	"net/url"
	"slices"
	"strings"

	"github.com/farreach/farreach/oic"
)

// maxHref is the longest href of a device, bytes, without its query.
const maxHref = 2048

// Path returns the path of an href as the device will see it: without the
// query, percent-decoded. What could mean one thing to us and another to the
// device is refused with 4.00: a path that does not begin with "/", empty, "."
// and ".." segments, an encoded slash or percent sign, backslashes, control
// characters, text that is not UTF-8.
func Path(href string) (string, error) {
	raw, _ := oic.SplitHref(href)
	path, err := url.PathUnescape(raw)
	if err != nil || len(raw) > maxHref || !strings.HasPrefix(raw, "/") ||
		strings.Count(path, "/") != strings.Count(raw, "/") || strings.ContainsAny(path, `%\`) || !printable(path) {
		return "", badPath(href)
	}
	segments := strings.Split(strings.TrimSuffix(path[1:], "/"), "/")
	if path != "/" && slices.Contains(segments, "") || slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		return "", badPath(href)
	}
	return path, nil
}

func badPath(href string) error {
	return oic.Errorf(oic.BadRequest, "not the path of a resource: %q", clip(href))
}

// Reserved reports whether a resource, by its path as Path returned it and its
// types if they are known, decides over the device itself: who owns it, whom it
// trusts, whether it is reset. It is never published and nobody reaches it from
// afar, whatever rights he has (threats rule 4).
func Reserved(path string, types []string) bool {
	path = strings.ToLower(strings.TrimSuffix(path, "/"))
	if slices.Contains(reservedPaths, path) || strings.HasPrefix(path, "/oic/sec/") {
		return true
	}
	return slices.ContainsFunc(types, func(rt string) bool { return slices.Contains(reservedTypes, rt) })
}

// reservedPaths are the paths of such resources, in lower case: security,
// maintenance, and what says which server the device belongs to.
var reservedPaths = []string{"/oic/sec", "/oic/mnt", "/coapcloudconfresuri", "/xmppuserresuri"}

// reservedTypes are the types of such resources, wherever a device has them
// (OCF Security, clause 13; OCF Core; OIC Remote Access, oic.ra.user).
var reservedTypes = []string{
	"oic.r.doxm", "oic.r.pstat", "oic.r.cred", "oic.r.acl", "oic.r.acl2", "oic.r.amacl", "oic.r.sacl",
	"oic.r.roles", "oic.r.csr", "oic.r.crl", "oic.r.sp", "oic.r.sdi", "oic.r.svc", "oic.r.ael", "oic.r.dpcrl",
	"oic.wk.mnt", "oic.r.coapcloudconf", "oic.ra.user",
}
