package webhook_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/webhook"
)

// place creates an endpoint at an address by its number.
func place(t *testing.T, r *webhook.Registry, addr string, private bool) error {
	t.Helper()
	host := addr
	if strings.Contains(addr, ":") {
		host = "[" + strings.ReplaceAll(addr, "%", "%25") + "]"
	}
	_, _, err := r.Create(t.Context(), spec(func(s *webhook.Spec) { s.URL, s.AllowPrivate = "https://"+host+"/", private }), noon())
	if err != nil && fault.CodeOf(err) != fault.CodeWebhookAddress {
		t.Errorf("%s: %v", addr, err)
	}
	return err
}

func TestOnlyPublicAddressesAreSentTo(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	for what, list := range map[string]string{
		"loopback":               "127.0.0.1 127.255.255.254 ::1",
		"private":                "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 fc00::1 fdff::1",
		"shared":                 "100.64.0.1 100.127.255.255",
		"link-local":             "169.254.0.1 169.254.169.254 fe80::1 fe80::1%eth0 febf::1",
		"metadata":               "fd00:ec2::254 100.100.100.200 168.63.129.16",
		"unspecified":            "0.0.0.0 0.1.2.3 ::",
		"multicast":              "224.0.0.1 239.255.255.255 ff02::1",
		"broadcast and reserved": "255.255.255.255 240.0.0.1 192.0.0.8 198.18.0.1 198.19.255.255 192.88.99.1",
		"documentation":          "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff:fff::1",
		"not global unicast":     "100::1 5f00::1 fec0::1 4000::1 ::8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b:1::808:808",
		"Teredo":                 "2001:0:4136:e378:8000:63bf:3fff:fdd2",
		"mapped":                 "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:a00:1",
		"NAT64":                  "64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe",
		"6to4":                   "2002:7f00:1::1 2002:a00:1:: 2002:a9fe:a9fe::1",
		"ISATAP":                 "2600::5efe:10.0.0.1 2600::200:5efe:192.168.0.1 fe80::5efe:8.8.8.8",
	} {
		for addr := range strings.FieldsSeq(list) {
			if place(t, r, addr, false) == nil {
				t.Errorf("%s: %s is good", what, addr)
			}
		}
	}
	for addr := range strings.FieldsSeq("1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 " +
		"192.167.255.255 192.169.0.0 223.255.255.255 2606:4700:4700::1111 2a00::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8 2002:808:808::1") {
		if err := place(t, r, addr, false); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestWhoAllowsPrivateAddressesDoesNotAllowMetadata(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	for addr := range strings.FieldsSeq("127.0.0.1 ::1 10.0.0.1 172.16.0.1 192.168.0.1 100.64.0.1 fd12::1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1") {
		if err := place(t, r, addr, true); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for addr := range strings.FieldsSeq("169.254.169.254 fe80::1 fd00:ec2::254 100.100.100.200 168.63.129.16 ::ffff:169.254.169.254 " +
		"64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 0.0.0.0 224.0.0.1 192.0.2.1") {
		if place(t, r, addr, true) == nil {
			t.Errorf("%s is good", addr)
		}
	}
	all := registry(t, &cabinet{}, &webhook.RegistryOptions{Allow: []netip.Prefix{
		netip.MustParsePrefix("169.254.169.254/32"), netip.MustParsePrefix("fe80::/10"),
	}})
	for _, addr := range []string{"169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0"} {
		if err := place(t, all, addr, false); err != nil {
			t.Errorf("what the operator named is refused: %v", err)
		}
	}
}

func FuzzNoFormOfAPrivateAddressIsPublic(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1}, uint8(0))
	f.Add([]byte{10, 1, 2, 3}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, form uint8) {
		if len(b) != 4 {
			return
		}
		v4 := netip.AddrFrom4([4]byte(b))
		if !v4.IsPrivate() && !v4.IsLoopback() && !v4.IsLinkLocalUnicast() && !v4.IsMulticast() && !v4.IsUnspecified() {
			return
		}
		var a [16]byte
		copy(a[12:], b)
		switch form % 4 {
		case 0: // as it is
			a[10], a[11] = 0xff, 0xff
		case 1: // NAT64
			a[1], a[2], a[3] = 0x64, 0xff, 0x9b
		case 2: // 6to4
			a = [16]byte{0x20, 0x02, b[0], b[1], b[2], b[3], 15: 1}
		case 3: // ISATAP in a public network
			a[0], a[1], a[10], a[11] = 0x26, 0x00, 0x5e, 0xfe
		}
		r := registry(t, &cabinet{}, nil)
		if addr := netip.AddrFrom16(a); place(t, r, addr.String(), false) == nil {
			t.Errorf("%s stands for %s and is good", addr, v4)
		}
	})
}
