#include "common/tls/context.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/system/error_code.hpp>

#include "common/error.hpp"
#include "common/tls/openssl.hpp"

namespace understudy::tls {
namespace fs = std::filesystem;
namespace ssl = boost::asio::ssl;
namespace {

constexpr long kMaxPeerCertificates = 16L << 10;  // bytes, of one that is not known yet

Error unusable(const fs::path& path, std::string_view why) {
    return Error::format("cannot use {}: {}; 'understudy init' makes the certificates", path.string(), why);
}

Memory open_file(const fs::path& path) {
    Memory file(BIO_new_file(path.c_str(), "r"));
    if (!file) {
        const int reason = errno;
        ERR_clear_error();
        throw unusable(path, std::generic_category().message(reason));
    }
    return file;
}

std::string time_text(const ASN1_TIME* time) {
    const Memory text(BIO_new(BIO_s_mem()));
    ASN1_TIME_print(text.get(), time);
    char* data = nullptr;
    const long size = BIO_get_mem_data(text.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

fs::path with_ending(const fs::path& credentials, std::string_view ending) {
    return credentials.string() + std::string(ending);
}

std::string hint(int reason) {
    switch (reason) {
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return "a certificate is wanted; give --tls";
        case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
            return "this side's certificate has expired; make another with 'understudy init'";
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
            return "this side's certificate is of another authority: one 'understudy init' makes those of the whole "
                   "site";
        case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
            return "this side's certificate is not for this";
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
            return "the other side speaks plain text; give it --tls";
        default:
            return {};
    }
}

}  // namespace

Certificate load_certificate(const fs::path& path) {
    const Memory file = open_file(path);
    Certificate certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
    if (!certificate) {
        ERR_clear_error();
        throw unusable(path, "it is no certificate");
    }
    return certificate;
}

Key load_key(const fs::path& path) {
    const Memory file = open_file(path);
    Key key(PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr));
    if (!key) {
        ERR_clear_error();
        throw unusable(path, "it is no key");
    }
    return key;
}

Context::Context(const fs::path& credentials)
    : credentials_(credentials), context_(std::make_unique<ssl::context>(ssl::context::tls)) {
    SSL_CTX* native = context_->native_handle();
    SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION);
    SSL_CTX_set_num_tickets(native, 0);  // every connection shows its certificate
    SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(native, kMaxPeerCertificates);
    SSL_CTX_set_mode(native, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    context_->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);

    const fs::path own_path = with_ending(credentials, ".pem");
    const Certificate own = load_certificate(own_path);
    const Key key = load_key(with_ending(credentials, ".key"));
    const fs::path authority_path = credentials.parent_path() / "ca.pem";
    const Certificate authority = load_certificate(authority_path);
    if (X509_verify(own.get(), X509_get0_pubkey(authority.get())) != 1) {
        ERR_clear_error();
        throw unusable(own_path, "it is of another authority than " + authority_path.string());
    }
    if (X509_cmp_current_time(X509_get0_notAfter(authority.get())) < 0) {
        throw unusable(authority_path, "it was valid until " + time_text(X509_get0_notAfter(authority.get())) +
                                           "; make a new authority, and new certificates for everybody");
    }
    if (X509_cmp_current_time(X509_get0_notAfter(own.get())) < 0) {
        throw unusable(own_path, "it was valid until " + time_text(X509_get0_notAfter(own.get())) +
                                     "; remove it and its key to have it made anew");
    }
    auto self = identity_of(own.get());
    if (!self) {
        throw unusable(own_path, "it says no role");
    }
    self_ = std::move(*self);
    if (SSL_CTX_use_certificate(native, own.get()) != 1 || SSL_CTX_use_PrivateKey(native, key.get()) != 1 ||
        SSL_CTX_check_private_key(native) != 1) {
        ERR_clear_error();
        throw unusable(with_ending(credentials, ".key"), "it is another certificate's key");
    }
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(native), authority.get()) != 1) {
        throw unusable(authority_path, "it is no authority");
    }
}

Context::~Context() = default;

void Context::require_role(Role role) const {
    if (self_.role != role) {
        throw Error::format("{} is for a {}, and a {}'s are wanted here; 'understudy init --{} ...' makes them",
                            credentials_.string(), word(self_.role), word(role), word(role));
    }
}

std::optional<Identity> peer_identity(const ssl_st* connection) {
    return identity_of(SSL_get0_peer_certificate(connection));
}

std::string handshake_failure(const ssl_st* connection, const boost::system::error_code& error) {
    if (const long verdict = SSL_get_verify_result(connection); verdict != X509_V_OK) {
        const std::string why = X509_verify_cert_error_string(verdict);
        switch (verdict) {
            case X509_V_ERR_CERT_HAS_EXPIRED:
                return "TLS: the other side's certificate has expired";
            case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
            case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            case X509_V_ERR_CERT_SIGNATURE_FAILURE:
                return "TLS: the other side's certificate is of another authority (" + why + ")";
            default:
                return "TLS: the other side's certificate is not for this (" + why + ")";
        }
    }
    if (error == boost::asio::error::eof || error == ssl::error::stream_truncated) {
        return "TLS: the other side hung up before the handshake was done (does it speak plain text?)";
    }
    const bool by_openssl = error.category() == boost::asio::error::get_ssl_category();
    const std::string advice =
        by_openssl ? hint(ERR_GET_REASON(static_cast<unsigned long>(error.value())))
                   : std::string(SSL_is_init_finished(connection) == 0 ? "does the other side speak plain text?" : "");
    return "TLS: " + error.message() + (advice.empty() ? "" : " (" + advice + ")");
}

}  // namespace understudy::tls
