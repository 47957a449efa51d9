#include "common/tls/authority.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "common/error.hpp"
#include "tests/unit/common/tls/site.hpp"

namespace understudy::tls {
namespace {

namespace fs = std::filesystem;
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

}  // namespace
}  // namespace understudy::tls
