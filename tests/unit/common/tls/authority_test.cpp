#include "common/tls/authority.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <memory>

#include "common/error.hpp"
#include "common/tls/openssl.hpp"
#include "tests/unit/common/tls/site.hpp"

namespace understudy::tls {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string failure(const auto& what) {
    try {
        what();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

TEST(Authority, AddsWhatIsMissingAndKeepsTheRest) {
    const TemporaryDirectory directory;
    const Identity alpha = testing::host("alpha", {"shop"});
    EXPECT_THAT(make_certificates(directory.path(), {alpha}),
                ElementsAre("ca.pem", "ca.key", "host-alpha.pem", "host-alpha.key"));
    EXPECT_THAT(make_certificates(directory.path(), {alpha, testing::client("c")}),
                ElementsAre("client-c.pem", "client-c.key"));
    EXPECT_THAT(make_certificates(directory.path(), {alpha}), IsEmpty());
    EXPECT_EQ(Context(directory.path() / "host-alpha").self(), alpha);
    struct stat key {};
    ASSERT_EQ(::stat((directory.path() / "host-alpha.key").c_str(), &key), 0);
    EXPECT_EQ(key.st_mode & 0777U, 0600U);
    EXPECT_THAT(failure([&] {
                    make_certificates(directory.path(), {testing::host("alpha", {"shop", "mail"})});
                }),
                HasSubstr("host-alpha.pem is there and says something else"));
}

// Killed between two files, or on a full disk.
TEST(Authority, GoesOnWhereACallEndedTooEarly) {
    const TemporaryDirectory directory;
    const Identity alpha = testing::host("alpha", {"shop"});
    for (const char* const left : {"ca.key", "ca.key.partial", "host-alpha.key", "host-alpha.pem.partial"}) {
        std::ofstream(directory.path() / left) << "half";
    }
    make_certificates(directory.path(), {alpha});
    EXPECT_EQ(Context(directory.path() / "host-alpha").self(), alpha);
    EXPECT_FALSE(fs::exists(directory.path() / "ca.key.partial"));
    EXPECT_FALSE(fs::exists(directory.path() / "host-alpha.pem.partial"));
}

TEST(Credentials, ThatCannotBeUsedAreNamedWithWhatToDo) {
    testing::Site site;
    testing::Site other;
    site.of(testing::host("alpha", {"shop"}));
    other.of(testing::host("alpha", {"shop"}));
    const auto loading = [&](const std::string& name) {
        return failure([&] { const Context context(site.path() / name); });
    };
    EXPECT_THAT(loading("host-beta"), HasSubstr("host-beta.pem: No such file"));
    EXPECT_THAT(loading("host-beta"), HasSubstr("'understudy init' makes the certificates"));
    EXPECT_THAT(loading("ca"), HasSubstr("it says no role"));

    fs::copy_file(other.path() / "host-alpha.pem", site.path() / "foreign.pem");
    fs::copy_file(other.path() / "host-alpha.key", site.path() / "foreign.key");
    EXPECT_THAT(loading("foreign"), HasSubstr("of another authority than"));
    fs::copy_file(site.path() / "host-alpha.pem", site.path() / "mixed.pem");
    fs::copy_file(other.path() / "host-alpha.key", site.path() / "mixed.key");
    EXPECT_THAT(loading("mixed"), HasSubstr("another certificate's key"));
    std::ofstream(site.path() / "garbage.pem") << "-----BEGIN CERTIFICATE-----\nAAAA\n";
    EXPECT_THAT(loading("garbage"), HasSubstr("no certificate"));

    make_certificates(site.path(), {testing::host("old", {"shop"})}, std::chrono::seconds(-10));
    EXPECT_THAT(loading("host-old"), HasSubstr("it was valid until"));

    const Context alpha(site.path() / "host-alpha");
    EXPECT_THAT(failure([&] { alpha.require_role(Role::gateway); }), HasSubstr("understudy init --gateway"));
}

const ASN1_TIME* end_of(const Certificate& certificate) {
    return X509_get0_notAfter(certificate.get());
}

// OpenSSL refuses a certificate whose authority's has run out: nobody's may promise more.
TEST(Authority, LivesAsLongAsWhatItSigns) {
    const TemporaryDirectory directory;
    make_certificates(directory.path(), {testing::client("a")}, 10 * kTenYears);
    const Certificate authority = load_certificate(directory.path() / "ca.pem");
    EXPECT_GE(ASN1_TIME_compare(end_of(authority), end_of(load_certificate(directory.path() / "client-a.pem"))), 0);
    make_certificates(directory.path(), {testing::client("b")}, 20 * kTenYears);
    EXPECT_EQ(ASN1_TIME_compare(end_of(authority), end_of(load_certificate(directory.path() / "client-b.pem"))), 0);
}

TEST(Authority, OneThatIsMadeNowSignsForTenYearsInTenYears) {
    const TemporaryDirectory directory;
    make_certificates(directory.path(), {});
    const Certificate authority = load_certificate(directory.path() / "ca.pem");
    std::time_t then = std::time(nullptr) + 2 * std::chrono::seconds(kTenYears).count();
    EXPECT_GT(X509_cmp_time(end_of(authority), &then), 0);
}

TEST(Authority, OneThatHasRunOutIsNamedByWhoeverStarts) {
    const TemporaryDirectory directory;
    make_certificates(directory.path(), {testing::client("a")}, std::chrono::seconds(5));
    // As it is after its end: the same certificate with another time, which is not looked at before the signature.
    const Certificate authority = load_certificate(directory.path() / "ca.pem");
    const Key key = load_key(directory.path() / "ca.key");
    X509_gmtime_adj(X509_getm_notAfter(authority.get()), -10);
    ASSERT_GT(X509_sign(authority.get(), key.get(), EVP_sha256()), 0);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen((directory.path() / "ca.pem").c_str(), "w"),
                                                               &std::fclose);
    ASSERT_EQ(PEM_write_X509(file.get(), authority.get()), 1);
    std::fflush(file.get());
    try {
        const Context context(directory.path() / "client-a");
        FAIL() << "it was taken";
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr("ca.pem"), HasSubstr("it was valid until")));
    }
}

}  // namespace
}  // namespace understudy::tls
