package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A TLS names the files of an authority, and of what it has signed.
type TLS struct {
	CA                    string
	ServerCert, ServerKey string
	ClientCert, ClientKey string
}

// NewTLS makes an authority with a certificate for 127.0.0.1 and one for a
// client.
func NewTLS(tb testing.TB) *TLS {
	tb.Helper()
	dir := tb.TempDir()
	t := &TLS{
		CA: filepath.Join(dir, "ca.pem"), ServerCert: filepath.Join(dir, "server.pem"), ServerKey: filepath.Join(dir, "server.key"),
		ClientCert: filepath.Join(dir, "client.pem"), ClientKey: filepath.Join(dir, "client.key"),
	}
	key := newKey(tb)
	ca := template(1, "authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der := sign(tb, ca, ca, &key.PublicKey, key)
	write(tb, t.CA, "CERTIFICATE", der)
	for i, pair := range [][2]string{{t.ServerCert, t.ServerKey}, {t.ClientCert, t.ClientKey}} {
		own := newKey(tb)
		cert := template(int64(i+2), "") // no name: etcd would take it for a user's
		cert.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		cert.DNSNames = []string{"localhost"}
		cert.KeyUsage = x509.KeyUsageDigitalSignature
		cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		write(tb, pair[0], "CERTIFICATE", sign(tb, cert, ca, &own.PublicKey, key))
		der, err := x509.MarshalECPrivateKey(own)
		if err != nil {
			tb.Fatal(err)
		}
		write(tb, pair[1], "EC PRIVATE KEY", der)
	}
	return t
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, cert, by *x509.Certificate, public *ecdsa.PublicKey, with *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, cert, by, public, with)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func write(tb testing.TB, path, kind string, der []byte) {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
}
