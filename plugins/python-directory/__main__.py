"""A directory plugin in Python: the accounts of a JSON file.

    {"alain@contoso.com": {"id": "1", "enabled": true, "groups": ["staff"],
                           "password": "scrypt:…"}}

A password is what "python3 directory.pyz hash" makes of the one it reads. The
only setting is path. It needs Debian's python3-grpcio, python3-protobuf and
python3-cryptography, and the build script makes one file of it.
"""

import base64
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading

import grpc
import plugin_pb2 as pb


class Status(Exception):
    """An answer that is an error: what is raised is what travels."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


def hashed(password, salt=None):
    salt = salt or secrets.token_bytes(16)
    # Of its digest, as scrypt takes a password and the same with a NUL behind it for one.
    key = hashlib.scrypt(hashlib.sha256(password).digest(), salt=salt, n=2**13, r=8, p=1)
    return "scrypt:" + base64.b64encode(salt).decode() + ":" + base64.b64encode(key).decode()


class Directory:
    path = None

    def Describe(self, request):
        return pb.DescribeResponse(kind=pb.KIND_DIRECTORY, version="1")

    def Configure(self, request):
        settings = {key: s.text for key, s in request.settings.items()}
        if set(settings) != {"path"} or not settings["path"]:
            raise Status(grpc.StatusCode.INVALID_ARGUMENT, 'path is the one setting; write it like path = "/etc/keywicket/people.json"')
        self.path = settings["path"]
        return pb.ConfigureResponse()

    def Health(self, request):
        return pb.HealthResponse(problem="" if os.access(self.path, os.R_OK) else self.path + " cannot be read")

    def find(self, name):
        try:
            with open(self.path, encoding="utf-8") as file:
                accounts = json.load(file)
        except (OSError, ValueError) as err:
            raise Status(grpc.StatusCode.UNAVAILABLE, str(err)) from err
        if name not in accounts:
            raise Status(grpc.StatusCode.NOT_FOUND, "no such account")
        return accounts[name]

    def Lookup(self, request):
        a = self.find(request.name)
        return pb.LookupResponse(name=request.name, account=pb.Account(
            id=a["id"], name=request.name, enabled=a["enabled"], groups=a.get("groups", []),
            attributes=a.get("attributes", {}), two_step=pb.TWO_STEP_NOT_MINE))

    def VerifyPassword(self, request):
        a, verdict = self.find(request.name), pb.VERDICT_WRONG
        if a["enabled"] and request.password and a.get("password"):
            salt = base64.b64decode(a["password"].split(":")[1])
            if hmac.compare_digest(hashed(request.password, salt), a["password"]):
                verdict = pb.VERDICT_RIGHT
        return pb.VerifyPasswordResponse(name=request.name, verdict=verdict)


def handler(method, request):
    """One method of the contract, as gRPC wants it."""

    def call(message, context):
        try:
            return method(message)
        except Status as err:
            context.abort(err.code, err.text)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.FromString, response_serializer=lambda answer: answer.SerializeToString())


def credentials():
    """A fresh certificate for this life, and the host's, which alone may ask."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1)).not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    line = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
    return line, grpc.ssl_server_credentials(
        [(private, certificate.public_bytes(pem))], os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True)


def serve():
    if os.environ.get("KEYWICKET_PLUGIN") != "7f1d4a0c2b9e4c6f8a53d1e60b7c9428":
        sys.exit("This is a plugin of Keywicket, which starts it.")
    if "1" not in os.environ["PLUGIN_PROTOCOL_VERSIONS"].split(","):
        sys.exit("This plugin speaks version 1 of the contract.")
    directory = Directory()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", 4 << 20)])
    for service, methods in {"Plugin": ["Describe", "Configure", "Health"], "Directory": ["Lookup", "VerifyPassword"]}.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "keywicket.plugin.v1." + service,
            {method: handler(getattr(directory, method), getattr(pb, method + "Request")) for method in methods}),))
    line, tls = credentials()
    socket = os.environ["PLUGIN_UNIX_SOCKET_DIR"] + "/directory.sock"
    server.add_secure_port("unix:" + socket, tls)
    server.start()
    print("1|1|unix|" + socket + "|grpc|" + line, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["hash"]:
        print(hashed(sys.stdin.readline().rstrip("\n").encode()))
    else:
        serve()
