#include "tools/image/debian.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void write(const std::filesystem::path& file, const std::string& text) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
}

TEST(AptSources, AreTheFilesThatAptReads) {
    const TemporaryDirectory etc;
    write(etc.path() / "sources.list", "deb http://deb.debian.org/debian bookworm main\n");
    write(etc.path() / "sources.list.d/b.sources", "Types: deb\n");
    write(etc.path() / "sources.list.d/a.list", "deb http://a b c\n");
    write(etc.path() / "sources.list.d/a.list.save", "deb http://a b c\n");
    EXPECT_THAT(apt_sources(etc.path()), ElementsAre(etc.path() / "sources.list", etc.path() / "sources.list.d/a.list",
                                                     etc.path() / "sources.list.d/b.sources"));
}

TEST(AptSources, AreMissedWithAdvice) {
    const TemporaryDirectory etc;
    EXPECT_THAT(error_of([&] { static_cast<void>(apt_sources(etc.path())); }), HasSubstr("--suite"));
    write(etc.path() / "sources.list", "");
    EXPECT_NE(error_of([&] { static_cast<void>(apt_sources(etc.path())); }), "");
}

TEST(Packages, AreNamedOnceAndInOrder) {
    EXPECT_THAT(named_packages({.packages = {"redis-server", "nginx", "redis-server"}}),
                ElementsAre("nginx", "redis-server"));
    EXPECT_THAT(named_packages({.packages = {"udev"}, .systemd = true}), ElementsAre("dbus", "systemd-sysv", "udev"));
}

TEST(Simulation, IsReadForNamesAndVersions) {
    EXPECT_THAT(parse_simulation("Reading package lists...\n"
                                 "Inst redis-server (5:7.0.15-1~deb12u10 Debian-Security:12/oldstable [amd64])\n"
                                 "Inst tzdata (2026f-0+deb12u1 Debian:12/oldstable, Debian-Security:12/x [all]) []\n"
                                 "Inst base [1.0] (1.1 Debian:12 [amd64])\n"
                                 "Conf tzdata (2026f-0+deb12u1 Debian:12/oldstable [all])\n"),
                ElementsAre("base 1.1 amd64", "redis-server 5:7.0.15-1~deb12u10 amd64", "tzdata 2026f-0+deb12u1 all"));
    EXPECT_THAT(parse_simulation("nothing\nInst\nInst ( [\n"), IsEmpty());
}

TEST(Bootstrap, TakesASuiteInPlaceOfThisHostsSources) {
    const auto command =
        bootstrap_command({.packages = {"b", "a"}, .suite = "trixie", .mirror = "http://m/debian"}, "/work/root.tar");
    EXPECT_EQ(command.front(), "mmdebstrap");
    EXPECT_THAT(command, Contains("--include=a,b"));
    EXPECT_EQ(command[command.size() - 3], "trixie");
    EXPECT_EQ(command[command.size() - 2], "/work/root.tar");
    EXPECT_EQ(command.back(), "http://m/debian");
}

TEST(Bootstrap, TakesPackagesOfOnesOwnBesideASuite) {
    const TemporaryDirectory debs("understudy-debs");
    const auto command =
        bootstrap_command({.packages = {"a"}, .suite = "trixie", .debs = debs.path()}, "/work/root.tar");
    EXPECT_EQ(command.back(), "deb [trusted=yes] copy:" + std::filesystem::canonical(debs.path()).string() + " ./");
    EXPECT_EQ(command[command.size() - 2], "http://deb.debian.org/debian");
    EXPECT_THAT(plan_packages({.packages = {"nobody-has-this"}, .debs = debs.path()}), IsEmpty());
}

TEST(PlanKey, KnowsOneRequestFromAnother) {
    EXPECT_EQ(plan_key({.packages = {"a", "b"}}), plan_key({.packages = {"b", "a"}}));
    EXPECT_NE(plan_key({.packages = {"a"}}), plan_key({.packages = {"b"}}));
    EXPECT_NE(plan_key({.packages = {"a"}}), plan_key({.packages = {"a"}, .suite = "sid"}));
}

}  // namespace
}  // namespace understudy::tools
