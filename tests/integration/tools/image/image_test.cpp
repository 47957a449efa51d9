// `understudy image` as its users call it: real packages, real tars, and what is in the file system that comes out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "common/file_digest.hpp"
#include "common/temporary_directory.hpp"
#include "tools/output/json.hpp"
#include "tools/process/line_process.hpp"
#include "tools/process/run.hpp"

namespace understudy {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using tools::Finished;
using tools::run_to_end;

const std::string kUnderstudy = UNDERSTUDY_BINARY_DIR "/understudy";

std::string content(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

bool succeeds(const std::string& line) {
    return run_to_end({"sh", "-c", line}).exit_status == 0;
}

class Image : public testing::Test {
  protected:
    void SetUp() override {
        if (!succeeds("command -v mkfs.erofs && command -v fsck.erofs")) {
            GTEST_SKIP() << "no erofs-utils: apt-get install erofs-utils";
        }
        if (::geteuid() != 0 && !succeeds("unshare --map-root-user --map-auto true")) {
            GTEST_SKIP() << "neither root nor a user namespace (package uidmap, /etc/subuid)";
        }
    }

    [[nodiscard]] tools::ProcessConfig config(const std::string& arguments) const {
        return {.command = {"sh", "-c", "exec " + kUnderstudy + " image " + arguments},
                .directory = path_,
                .environment = {"XDG_CACHE_HOME=" + (path_ / "cache").string()}};
    }
    [[nodiscard]] Finished image(const std::string& arguments) const { return run_to_end(config(arguments), 10min); }
    // The image's files, below the directory that is returned.
    [[nodiscard]] fs::path unpacked(const std::string& file) const {
        fs::path to = path_ / (file + ".files");
        const Finished fsck = run_to_end({"fsck.erofs", "--extract=" + to.string(), path_ / file});
        EXPECT_EQ(fsck.exit_status, 0) << fsck.output << fsck.errors;
        return to;
    }
    // A tar of a small root.
    void make_tar(const std::string& name, const std::string& options) const {
        fs::create_directories(path_ / "root/usr/bin");
        fs::create_directories(path_ / "root/dev");
        fs::create_symlink("usr/bin", path_ / "root/bin");
        std::ofstream(path_ / "root/usr/bin/program") << "program";
        std::ofstream(path_ / "root/dev/null") << "no device";
        ASSERT_TRUE(succeeds("cd " + path_.string() + " && tar " + options + " -cf " + name + " -C root ."));
    }

    [[nodiscard]] std::vector<std::string> names_in(const fs::path& directory) const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(path_ / directory)) {
            names.push_back(entry.path().filename());
        }
        return names;
    }

    TemporaryDirectory directory_{"understudy-image"};
    fs::path path_ = directory_.path();
};

TEST_F(Image, OfATarHoldsItsFilesAndWhatWasAdded) {
    make_tar("root.tar.xz", "--xz");
    std::ofstream(path_ / "own") << "own program";
    fs::permissions(path_ / "own", fs::perms::owner_all);
    const Finished made = image("--from-tar root.tar.xz --add own:/bin/ --add own:/srv/a/b -o a.img --json");
    ASSERT_EQ(made.exit_status, 0) << made.errors;
    const auto said = tools::parse_flat_object(made.output);
    ASSERT_TRUE(said) << made.output;
    const std::string digest = digest_file(path_ / "a.img").text();
    EXPECT_THAT(made.output, HasSubstr("\"digest\":\"" + digest + "\""));
    const fs::path root = unpacked("a.img");
    EXPECT_EQ(content(root / "usr/bin/program"), "program");
    EXPECT_EQ(content(root / "usr/bin/own"), "own program");
    EXPECT_EQ(content(root / "srv/a/b"), "own program");
    EXPECT_EQ(fs::status(root / "usr/bin/own").permissions(), fs::perms::owner_all);
    EXPECT_EQ(fs::read_symlink(root / "bin"), "usr/bin");
    for (const char* const name : {"dev", "proc", "sys", "run", "tmp"}) {
        EXPECT_TRUE(fs::is_empty(root / name)) << name;
    }
}

TEST_F(Image, OfTheSameIsTheSameWhetherBuiltOrCached) {
    make_tar("root.tar", "");
    ASSERT_EQ(image("--from-tar root.tar -o a.img").exit_status, 0);
    const Finished cached = image("--from-tar root.tar -o b.img");
    EXPECT_THAT(cached.output, HasSubstr("from the cache"));
    const Finished built = image("--from-tar root.tar -o c.img --no-cache");
    EXPECT_THAT(built.output, HasSubstr("built"));
    EXPECT_EQ(content(path_ / "a.img"), content(path_ / "b.img"));
    EXPECT_EQ(content(path_ / "a.img"), content(path_ / "c.img"));
    EXPECT_EQ(names_in("cache/understudy/images").size(), 1U) << "nothing of the builds is left";
}

TEST_F(Image, OfWhatIsNoTarIsAnErrorThatSaysSo) {
    std::ofstream(path_ / "text") << std::string(100000, 'x');
    std::ofstream(path_ / "a.img") << "there before";
    const Finished made = image("--from-tar text -o a.img");
    EXPECT_EQ(made.exit_status, 1);
    EXPECT_THAT(made.errors, HasSubstr("not look like a tar"));
    EXPECT_EQ(content(path_ / "a.img"), "there before");
    EXPECT_TRUE(names_in("cache/understudy/images").empty());
}

TEST_F(Image, OfAPackageThatDoesNotExistIsAnErrorThatNamesIt) {
    if (!succeeds("apt-cache show busybox-static")) {
        GTEST_SKIP() << "no apt, or its lists are empty: apt-get update";
    }
    const Finished made = image("--package understudy-nothing -o a.img");
    EXPECT_EQ(made.exit_status, 1);
    EXPECT_THAT(made.errors, HasSubstr("Unable to locate package understudy-nothing"));
    EXPECT_FALSE(fs::exists(path_ / "a.img"));
}

TEST_F(Image, LeavesNothingWhenItsUserInterrupts) {
    make_tar("root.tar", "");
    // Never read to its end: tar waits for it.
    ASSERT_TRUE(succeeds("cd " + path_.string() +
                         " && mkdir bin && printf '#!/bin/sh\\necho waiting >&2\\nexec sleep "
                         "1000\\n' > bin/tar && chmod 755 bin/tar"));
    tools::ProcessConfig slow = config("--from-tar root.tar -o a.img --verbose");
    slow.environment.push_back("PATH=" + (path_ / "bin").string() + ":" + std::getenv("PATH"));
    tools::LineProcess build(slow);
    while (build.lines().next(60s) != "waiting") {
    }
    build.process().signal(SIGINT);
    EXPECT_EQ(build.process().wait(), 130);
    EXPECT_TRUE(names_in("cache/understudy/images").empty());
    EXPECT_FALSE(fs::exists(path_ / "a.img"));
}

TEST_F(Image, OfPackagesIsADebianRoot) {
    if (!succeeds("command -v mmdebstrap")) {
        GTEST_SKIP() << "no mmdebstrap: apt-get install mmdebstrap";
    }
    const Finished plan = run_to_end({"sh", "-c", "cd " + path_.string() + " && apt-get download busybox-static"});
    if (plan.exit_status != 0) {
        GTEST_SKIP() << "apt reaches no packages here: " << plan.errors;
    }
    const Finished made = image("--systemd --package busybox-static -o a.img");
    ASSERT_EQ(made.exit_status, 0) << made.errors;
    EXPECT_THAT(made.output, HasSubstr(" packages, "));
    const fs::path root = unpacked("a.img");
    EXPECT_TRUE(fs::exists(root / "usr/bin/busybox"));
    EXPECT_TRUE(fs::is_symlink(root / "usr/sbin/init"));
    EXPECT_TRUE(fs::is_empty(root / "etc/machine-id"));
    EXPECT_FALSE(fs::exists(root / "etc/resolv.conf"));
    EXPECT_TRUE(fs::exists(root / "etc/systemd/system/serial-getty@hvc0.service.d/autologin.conf"));
    struct stat status {};
    ASSERT_EQ(::stat((root / "tmp").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 01777U);
    EXPECT_THAT(image("--systemd --package busybox-static -o b.img").output, HasSubstr("from the cache"));
    EXPECT_EQ(digest_file(path_ / "a.img"), digest_file(path_ / "b.img"));
}

}  // namespace
}  // namespace understudy
