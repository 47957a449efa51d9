#include "common/tls/authority.hpp"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/tls/openssl.hpp"

namespace understudy::tls {
namespace fs = std::filesystem;
namespace {

constexpr long kClockDifference = 3600;  // seconds by which the clocks of a site may differ

void check(bool ok, std::string_view what) {
    if (!ok) {
        throw Error::format("OpenSSL cannot {}", what);
    }
}

// Whole, or not at all.
void write_file(const fs::path& path, const std::string& text, mode_t mode) {
    const std::string partial = path.string() + ".partial";
    ::unlink(partial.c_str());
    const FileDescriptor fd(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd) {
        throw Error::from_errno("cannot create " + path.string(), errno);
    }
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(fd.get()) != 0 ||
        ::rename(partial.c_str(), path.c_str()) != 0) {
        const int error = errno;
        ::unlink(partial.c_str());
        throw Error::from_errno("cannot write " + path.string(), error);
    }
}

// So that two calls at once do not make a certificate each, of which one fits the key.
FileDescriptor locked(const fs::path& directory) {
    FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::flock(fd.get(), LOCK_EX) != 0) {
        throw Error::from_errno("cannot open " + directory.string(), errno);
    }
    return fd;
}

std::string contents(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

// The certificate last: a key without one is of a call that was killed or found a full disk, and is replaced.
void save(const fs::path& stem, EVP_PKEY* key, X509* certificate) {
    const Memory key_text(BIO_new(BIO_s_mem()));
    check(PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1, "write a key");
    write_file(stem.string() + ".key", contents(key_text.get()), 0600);
    const Memory certificate_text(BIO_new(BIO_s_mem()));
    check(PEM_write_bio_X509(certificate_text.get(), certificate) == 1, "write a certificate");
    write_file(stem.string() + ".pem", contents(certificate_text.get()), 0644);
}

void extend(X509* certificate, X509* issuer, int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    check(extension != nullptr, "make a certificate's extension");
    const int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    check(added == 1, "extend a certificate");
}

void add_name(GENERAL_NAMES* names, int type, const std::string& text) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    check(
        name != nullptr && value != nullptr && ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1,
        "name a certificate");
    GENERAL_NAME_set0_value(name, type, value);
    check(sk_GENERAL_NAME_push(names, name) > 0, "name a certificate");
}

void add_identity(X509* certificate, const Identity& identity) {
    const GeneralNames names(sk_GENERAL_NAME_new_null());
    add_name(names.get(), GEN_DNS, identity.name);
    for (const std::string& uri : uris_of(identity)) {
        add_name(names.get(), GEN_URI, uri);
    }
    check(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1,
          "name a certificate");
}

// Who may be dialled, and who dials.
const char* key_usage(Role role) {
    switch (role) {
        case Role::arbiter:
        case Role::host:
            return "serverAuth,clientAuth";
        case Role::gateway:
            return "serverAuth";
        case Role::client:
        case Role::site_operator:
            break;
    }
    return "clientAuth";
}

// Without extensions and signature.
Certificate new_certificate(const std::string& name, EVP_PKEY* key, std::chrono::seconds validity) {
    Certificate certificate(X509_new());
    check(certificate != nullptr, "make a certificate");
    X509_set_version(certificate.get(), 2);
    std::array<unsigned char, 16> serial{};
    check(RAND_bytes(serial.data(), static_cast<int>(serial.size())) == 1, "draw a serial number");
    serial[0] &= 0x7FU;
    BIGNUM* number = BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
    BN_free(number);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kClockDifference);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), static_cast<long>(validity.count()));
    X509_set_pubkey(certificate.get(), key);
    X509_NAME* subject = X509_get_subject_name(certificate.get());
    const auto put = [&](const char* field, const std::string& value) {
        check(X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                         reinterpret_cast<const unsigned char*>(value.data()),
                                         static_cast<int>(value.size()), -1, 0) == 1,
              "name a certificate");
    };
    put("O", "Understudy");
    put("CN", name);
    return certificate;
}

Key new_key() {
    Key key(EVP_EC_gen("P-256"));
    check(key != nullptr, "make a key");
    return key;
}

void sign(X509* certificate, EVP_PKEY* key) {
    check(X509_sign(certificate, key, EVP_sha256()) > 0, "sign a certificate");
}

// Valid for longer than what it signs, which OpenSSL refuses from the authority's end on: in ten years it still signs
// for ten.
void make_authority(const fs::path& stem, std::chrono::seconds validity) {
    const auto key = new_key();
    const auto certificate =
        new_certificate("Understudy authority", key.get(), std::max<std::chrono::seconds>(3 * kTenYears, validity));
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
    extend(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    extend(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    sign(certificate.get(), key.get());
    save(stem, key.get(), certificate.get());
}

void make_certificate(const fs::path& stem, const Identity& holder, X509* authority, EVP_PKEY* authority_key,
                      std::chrono::seconds validity) {
    const auto key = new_key();
    const auto certificate = new_certificate(holder.name, key.get(), validity);
    if (ASN1_TIME_compare(X509_get0_notAfter(certificate.get()), X509_get0_notAfter(authority)) > 0) {
        X509_set1_notAfter(certificate.get(), X509_get0_notAfter(authority));
    }
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(authority));
    extend(certificate.get(), authority, NID_basic_constraints, "critical,CA:FALSE");
    extend(certificate.get(), authority, NID_key_usage, "critical,digitalSignature");
    extend(certificate.get(), authority, NID_ext_key_usage, key_usage(holder.role));
    add_identity(certificate.get(), holder);
    sign(certificate.get(), authority_key);
    save(stem, key.get(), certificate.get());
}

}  // namespace

std::vector<std::string> make_certificates(const fs::path& directory, const std::vector<Identity>& holders,
                                           std::chrono::seconds validity) {
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) {
        throw Error::format("cannot create {}: {}", directory.string(), error.message());
    }
    const FileDescriptor lock = locked(directory);
    std::vector<std::string> written;
    if (!fs::exists(directory / "ca.pem")) {
        make_authority(directory / "ca", validity);
        written.insert(written.end(), {"ca.pem", "ca.key"});
    }
    const auto authority = load_certificate(directory / "ca.pem");
    const auto authority_key = load_key(directory / "ca.key");
    for (const Identity& holder : holders) {
        const fs::path stem = directory / holder.name;
        const std::string file = stem.string() + ".pem";
        if (!fs::exists(file)) {
            make_certificate(stem, holder, authority.get(), authority_key.get(), validity);
            written.insert(written.end(), {holder.name + ".pem", holder.name + ".key"});
        } else if (identity_of(load_certificate(file).get()) != holder) {
            throw Error::format(
                "{} is there and says something else of its holder (its VMs?): remove it and its key first", file);
        }
    }
    return written;
}

}  // namespace understudy::tls
