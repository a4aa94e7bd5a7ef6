#!/bin/sh
# deb.sh VERSION: bin/farreach, its manual pages and completions as a Debian
# package in bin/. "make deb" builds what it needs first.
set -eu
version=$(printf %s "${1#v}" | sed 's/[^A-Za-z0-9.+~]/+/g')
case $version in [0-9]*) ;; *) version=0+$version ;; esac
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }

put 755 bin/farreach usr/bin/farreach
put 644 deploy/farreach.yaml etc/farreach.yaml
put 644 deploy/90-farreach.conf usr/lib/sysctl.d/90-farreach.conf
text() { mkdir -p "$root/${1%/*}" && cat >"$root/$1" && chmod 644 "$root/$1"; }
text usr/share/doc/farreach/copyright <<'END'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: https://github.com/farreach/farreach

Files: *
Copyright: 2026 The Farreach developers
License: Apache-2.0
 On Debian systems the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
END
text usr/share/doc/farreach/changelog <<END
farreach ($version) unstable; urgency=medium

  * What is new is told at https://github.com/farreach/farreach.

 -- The Farreach developers <farreach@example.org>  $(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
END
gzip -9n "$root/usr/share/doc/farreach/changelog"
text usr/share/lintian/overrides/farreach <<'END'
# A program of Go is one file.
farreach: statically-linked-binary [usr/bin/farreach]
END
sed 's,/usr/local/bin,/usr/bin,' deploy/farreach.service >"$root/unit"
put 644 "$root/unit" usr/lib/systemd/system/farreach.service
rm "$root/unit"
bin/farreach man "$root/usr/share/man/man1" && gzip -9n "$root"/usr/share/man/man1/*.1
for shell in bash:bash-completion/completions/farreach zsh:zsh/vendor-completions/_farreach fish:fish/vendor_completions.d/farreach.fish; do
	bin/farreach completion "${shell%%:*}" >"$root/completion"
	put 644 "$root/completion" "usr/share/${shell#*:}"
	rm "$root/completion"
done

mkdir "$root/DEBIAN"
echo /etc/farreach.yaml >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<END
Package: farreach
Version: $version
Architecture: $arch
Maintainer: The Farreach developers <farreach@example.org>
Section: net
Priority: optional
Installed-Size: $(du -ks "$root/usr" | cut -f1)
Recommends: ca-certificates
Homepage: https://github.com/farreach/farreach
Description: reach OIC/OCF devices from anywhere
 Cloud interface, XMPP server, XC-Proxy and the commands for them, in one
 program. The service is installed and not enabled:
 systemctl enable --now farreach
END
cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ "$1" = configure ] && [ -n "$2" ] && [ -d /run/systemd/system ]; then systemctl try-restart farreach; fi
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now farreach || true; fi
END
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
dpkg-deb --root-owner-group --build "$root" "bin/farreach_${version}_$arch.deb"
