#include "arbiter/wire/credentials.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <boost/asio/ssl/context.hpp>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "common/error.hpp"

namespace understudy::arbiter {
namespace fs = std::filesystem;
namespace {

template <auto Free>
struct Freed {
    template <typename T>
    void operator()(T* pointer) const {
        Free(pointer);
    }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO_free_all>>;

constexpr long kTenYears = 10L * 365 * 24 * 60 * 60;
constexpr std::string_view kServerPrefix = "server-";

void check(bool ok, std::string_view what) {
    if (!ok) {
        throw Error::format("OpenSSL cannot {}", what);
    }
}

Key new_key() {
    Key key(EVP_EC_gen("P-256"));
    check(key != nullptr, "make a key");
    return key;
}

void write_file(const fs::path& path, const std::string& text, mode_t mode) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        throw Error::from_errno("cannot create " + path.string(), errno);
    }
    const auto written = ::write(fd, text.data(), text.size());
    const int error = errno;
    ::fsync(fd);
    ::close(fd);
    if (written != static_cast<ssize_t>(text.size())) {
        throw Error::from_errno("cannot write " + path.string(), error);
    }
}

std::string contents(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw Error::from_errno("cannot read " + path.string(), errno);
    }
    return {std::istreambuf_iterator<char>(in), {}};
}

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

// `authority` is null for the authority's own certificate.
Certificate new_certificate(const std::string& name, EVP_PKEY* key, X509* authority, EVP_PKEY* authority_key) {
    Certificate certificate(X509_new());
    check(certificate != nullptr, "make a certificate");
    X509_set_version(certificate.get(), 2);
    std::array<unsigned char, 16> serial{};
    check(RAND_bytes(serial.data(), static_cast<int>(serial.size())) == 1, "draw a serial number");
    serial[0] &= 0x7FU;
    BIGNUM* number = BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
    BN_free(number);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);  // clocks differ
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kTenYears);
    X509_set_pubkey(certificate.get(), key);
    X509_NAME* subject = X509_get_subject_name(certificate.get());
    const auto put = [&](const char* field, const std::string& value) {
        check(X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                         reinterpret_cast<const unsigned char*>(value.data()),
                                         static_cast<int>(value.size()), -1, 0) == 1,
              "name a certificate");
    };
    put("O", "Understudy arbiter");
    put("CN", name);
    X509* issuer = authority != nullptr ? authority : certificate.get();
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer));
    if (authority == nullptr) {
        extend(certificate.get(), issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
        extend(certificate.get(), issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    } else {
        extend(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
        extend(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature");
        extend(certificate.get(), issuer, NID_ext_key_usage,
               is_server_name(name) ? "serverAuth,clientAuth" : "clientAuth");
    }
    check(X509_sign(certificate.get(), authority_key, EVP_sha256()) > 0, "sign a certificate");
    return certificate;
}

struct Authority {
    Key key;
    Certificate certificate;
};

Authority load_authority(const fs::path& directory) {
    const auto key_text = read_file(directory / "ca.key");
    const auto certificate_text = read_file(directory / "ca.pem");
    const Memory key_bio(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
    const Memory certificate_bio(BIO_new_mem_buf(certificate_text.data(), static_cast<int>(certificate_text.size())));
    Authority authority{Key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr)),
                        Certificate(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr))};
    if (!authority.key || !authority.certificate) {
        throw Error::format("{} holds no usable authority (ca.pem, ca.key)", directory.string());
    }
    return authority;
}

}  // namespace

std::unique_ptr<boost::asio::ssl::context> make_tls(const Credentials& credentials) {
    namespace ssl = boost::asio::ssl;
    auto context = std::make_unique<ssl::context>(ssl::context::tls);
    SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_3_VERSION);
    context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
    const auto load = [&](const char* suffix, const auto& function) {
        const auto path = (credentials.directory / suffix).string();
        boost::system::error_code error;
        function(path, error);
        if (error) {
            throw Error::format("cannot use {}: {}; 'understudy arbiter init' makes the certificates", path,
                                error.message());
        }
    };
    load("ca.pem", [&](const auto& path, auto& error) { context->load_verify_file(path, error); });
    load((credentials.name + ".pem").c_str(),
         [&](const auto& path, auto& error) { context->use_certificate_chain_file(path, error); });
    load((credentials.name + ".key").c_str(),
         [&](const auto& path, auto& error) { context->use_private_key_file(path, ssl::context::pem, error); });
    return context;
}

std::string server_name(raft::NodeId id) {
    return std::string(kServerPrefix) + std::to_string(id);
}

bool is_server_name(const std::string& common_name) {
    return common_name.starts_with(kServerPrefix);
}

bool may_operate(const std::string& common_name) {
    return common_name == "operator" || is_server_name(common_name);
}

std::vector<std::string> make_certificates(const fs::path& directory, const std::vector<std::string>& names) {
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) {
        throw Error::format("cannot create {}: {}", directory.string(), error.message());
    }
    std::vector<std::string> written;
    if (!fs::exists(directory / "ca.pem")) {
        const auto key = new_key();
        const auto certificate = new_certificate("Understudy arbiter authority", key.get(), nullptr, key.get());
        save(directory / "ca", key.get(), certificate.get());
        written.insert(written.end(), {"ca.pem", "ca.key"});
    }
    const auto authority = load_authority(directory);
    for (const auto& name : names) {
        if (fs::exists(directory / (name + ".pem"))) {
            continue;
        }
        const auto key = new_key();
        const auto certificate = new_certificate(name, key.get(), authority.certificate.get(), authority.key.get());
        save(directory / name, key.get(), certificate.get());
        written.insert(written.end(), {name + ".pem", name + ".key"});
    }
    return written;
}

}  // namespace understudy::arbiter
