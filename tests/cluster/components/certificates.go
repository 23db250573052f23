package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The identities of a cluster, by the name of their files. Names and groups are those that Kubernetes' own RBAC rules are
// bound to (https://kubernetes.io/docs/setup/best-practices/certificates/).
var identities = map[string]pkix.Name{
	"admin":       {CommonName: "admin", Organization: []string{"system:masters"}},
	"apiserver":   {CommonName: "kube-apiserver"},
	"controllers": {CommonName: "system:kube-controller-manager"},
	"scheduler":   {CommonName: "system:kube-scheduler"},
	"front-proxy": {CommonName: "front-proxy"},
	"kubelet":     {CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}},
	"proxy":       {CommonName: "system:kube-proxy"},
}

// authority signs the certificates of one cluster.
type authority struct {
	folder      string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	pem         []byte
}

// writeCertificates writes to folder what a control plane at the address server (host:port) needs: ca.crt and ca.key, a
// certificate and key and a kubeconfig for each identity, and sa.key, which signs the tokens of ServiceAccounts.
func writeCertificates(folder, server string) error {
	ca, err := newAuthority(folder)
	if err != nil {
		return err
	}
	for name, subject := range identities {
		certificate, key, err := ca.sign(name, subject)
		if err != nil {
			return err
		}
		config := kubeconfig(server, ca.pem, certificate, key)
		if err := os.WriteFile(filepath.Join(folder, name+".kubeconfig"), config, 0o600); err != nil {
			return err
		}
	}
	_, _, err = newKey(folder, "sa")
	return err
}

func newAuthority(folder string) (*authority, error) {
	key, _, err := newKey(folder, "ca")
	if err != nil {
		return nil, err
	}
	template := validity(pkix.Name{CommonName: "test cluster"})
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	text, err := writePEM(folder, "ca.crt", "CERTIFICATE", der)
	return &authority{folder, key, certificate, text}, err
}

// sign writes name.crt and name.key for a client, which may also be a server on loopback, and returns both as PEM.
func (ca *authority) sign(name string, subject pkix.Name) (certificate, key []byte, err error) {
	private, key, err := newKey(ca.folder, name)
	if err != nil {
		return nil, nil, err
	}
	template := validity(subject)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(serviceAddress), net.ParseIP(nodeAddress)}
	template.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, private.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	certificate, err = writePEM(ca.folder, name+".crt", "CERTIFICATE", der)
	return certificate, key, err
}

func validity(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	// An hour back: a clock that is put back by a test must not make them invalid.
	return &x509.Certificate{
		Subject: subject, SerialNumber: serial,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 30),
	}
}

func newKey(folder, name string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text, err := writePEM(folder, name+".key", "EC PRIVATE KEY", der)
	return key, text, err
}

func writePEM(folder, name, kind string, der []byte) ([]byte, error) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return text, os.WriteFile(filepath.Join(folder, name), text, 0o600)
}

func kubeconfig(server string, ca, certificate, key []byte) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {server: "https://%s", certificate-authority-data: %s}
users:
- name: test
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: test
  context: {cluster: test, user: test}
current-context: test
`, server, encode(ca), encode(certificate), encode(key))
}
