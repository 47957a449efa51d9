// OpenSSL's objects as values with an owner. Inside this folder only.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>
#include <string>

namespace understudy::tls {

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
using GeneralNames = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using Connection = std::unique_ptr<SSL, Freed<SSL_free>>;

// From a PEM file. Throw understudy::Error that names it.
[[nodiscard]] Certificate load_certificate(const std::filesystem::path& path);
[[nodiscard]] Key load_key(const std::filesystem::path& path);

}  // namespace understudy::tls
