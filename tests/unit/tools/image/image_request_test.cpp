#include "tools/image/image_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

TEST(Addition, NamesAFileHereAndAPathThere) {
    EXPECT_EQ(parse_addition("./program:/usr/local/bin/program"),
              (Addition{.host = "./program", .guest = "/usr/local/bin/program"}));
    EXPECT_EQ(parse_addition("a:b:/etc//c").guest, "/etc/c");
    EXPECT_EQ(parse_addition("a:b:/etc//c").host, "a:b");
    EXPECT_EQ(parse_addition("a:b:/etc/").guest, "/etc/a:b");
    EXPECT_EQ(parse_addition("a:b:/etc/a:b"), (Addition{.host = "a:b", .guest = "/etc/a:b"}));
}

TEST(Addition, TakesTheNameWhereThePathIsADirectory) {
    EXPECT_EQ(parse_addition("build/program:/usr/local/bin/").guest, "/usr/local/bin/program");
    EXPECT_EQ(parse_addition("build/site/:/var/www/").guest, "/var/www/site");
    EXPECT_EQ(parse_addition("program:/").guest, "/program");
}

TEST(Addition, IsRefusedWithoutAnAbsolutePathBelowTheRoot) {
    for (const char* const text :
         {"", "program", ":/bin/program", "program:bin/program", "program:", "a:/../b", "a:/b/./c", "a:/..", "/:/"}) {
        EXPECT_NE(error_of([&] { static_cast<void>(parse_addition(text)); }), "") << text;
    }
}

TEST(ImageRequest, IsOfPackagesOrOfATar) {
    const TemporaryDirectory directory;
    EXPECT_THAT(error_of([] { check({}); }), HasSubstr("--package"));
    EXPECT_EQ(error_of([] { check({.packages = {"redis-server", "libc6:amd64", "nginx=1.22.1-9+deb12u1"}}); }), "");
    EXPECT_EQ(error_of([] { check({.systemd = true}); }), "");
    EXPECT_THAT(error_of([] { check({.packages = {"redis"}, .tar = "/etc/hostname"}); }), HasSubstr("no packages"));
    EXPECT_THAT(error_of([&] { check({.tar = directory.path()}); }), HasSubstr("no file"));
    EXPECT_THAT(error_of([&] { check({.tar = directory.path() / "root.tar"}); }), HasSubstr("root.tar"));
}

TEST(ImageRequest, TakesPackagesOfOnesOwnWithTheirList) {
    const TemporaryDirectory directory;
    EXPECT_THAT(error_of([&] { check({.packages = {"a"}, .debs = directory.path()}); }),
                HasSubstr("dpkg-scanpackages"));
    std::ofstream(directory.path() / "Packages") << "Package: a\n";
    EXPECT_EQ(error_of([&] { check({.packages = {"a"}, .debs = directory.path()}); }), "");
    EXPECT_NE(error_of([&] { check({.debs = directory.path(), .tar = "/etc/hostname"}); }), "");
}

TEST(ImageRequest, TakesNoOptionForAPackage) {
    for (const char* const name :
         {"-o", "--help", "a b", "?essential", "~nredis", "Redis", "a,b", "", "x/sid", "a=b c"}) {
        EXPECT_THAT(error_of([&] { check({.packages = {name}}); }), HasSubstr("no package's name")) << name;
    }
    EXPECT_NE(error_of([] { check({.packages = {"a"}, .suite = "--help"}); }), "");
    EXPECT_NE(error_of([] { check({.packages = {"a"}, .suite = "sid", .mirror = "deb http://x"}); }), "");
    EXPECT_THAT(error_of([] { check({.packages = {"a"}, .mirror = "http://x"}); }), HasSubstr("--suite"));
    EXPECT_EQ(error_of([] { check({.packages = {"a"}, .suite = "sid", .mirror = "http://x/debian"}); }), "");
}

TEST(ImageRequest, NamesTheAdditionThatIsNotThere) {
    EXPECT_THAT(error_of([] {
                    check({.packages = {"a"}, .additions = {{"/nowhere/program", "/program"}}});
                }),
                HasSubstr("/nowhere/program"));
}

}  // namespace
}  // namespace understudy::tools
