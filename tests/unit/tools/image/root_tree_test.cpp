#include "tools/image/root_tree.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"
#include "tools/image/root_changes.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using ::testing::HasSubstr;

std::string content(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

struct stat status_of(const fs::path& file) {
    struct stat status {};
    EXPECT_EQ(::lstat(file.c_str(), &status), 0) << file;
    return status;
}

// A root in a directory, and beside it what a hostile root would like to reach.
class ARoot : public ::testing::Test {
  protected:
    ARoot() {
        fs::create_directories(path_);
        fs::create_directories(outside_);
        std::ofstream(outside_ / "precious") << "precious";
    }

    void expect_outside_untouched() const {
        EXPECT_EQ(content(outside_ / "precious"), "precious");
        EXPECT_EQ(std::distance(fs::directory_iterator(outside_), fs::directory_iterator()), 1);
    }

    TemporaryDirectory directory_{"understudy-root"};
    fs::path path_ = directory_.path() / "root";
    fs::path outside_ = directory_.path() / "outside";
};

TEST_F(ARoot, GetsFilesAndTheDirectoriesThatTheyNeed) {
    RootTree root(path_);
    EXPECT_TRUE(root.empty());
    root.write_file("/etc/systemd/system/a.conf", "text", 0640);
    EXPECT_EQ(content(path_ / "etc/systemd/system/a.conf"), "text");
    EXPECT_EQ(status_of(path_ / "etc/systemd/system/a.conf").st_mode & 07777U, 0640U);
    EXPECT_EQ(status_of(path_ / "etc/systemd").st_mode & 07777U, 0755U);
    EXPECT_TRUE(root.has("/etc/systemd"));
    EXPECT_FALSE(root.has("/etc/nothing/at/all"));
    root.write_file("/etc/systemd/system/a.conf", "other");
    EXPECT_EQ(content(path_ / "etc/systemd/system/a.conf"), "other");
    root.remove("/etc/systemd/system/a.conf");
    root.remove("/etc/systemd/system/a.conf");
    EXPECT_FALSE(root.has("/etc/systemd/system/a.conf"));
    EXPECT_FALSE(root.empty());
}

TEST_F(ARoot, KeepsItsTimes) {
    fs::create_directory(path_ / "etc");
    const timespec times[2] = {{1000, 0}, {1000, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (path_ / "etc").c_str(), times, 0), 0);
    RootTree root(path_);
    root.write_file("/etc/hostname", "guest\n");
    root.make_link("/etc/link", "/dev/null");
    EXPECT_EQ(status_of(path_ / "etc").st_mtime, 1000);
    EXPECT_EQ(status_of(path_ / "etc/hostname").st_mtime, kImageTime);
    EXPECT_EQ(status_of(path_ / "etc/link").st_mtime, kImageTime);
    root.make_directory("/opt/a");
    EXPECT_EQ(status_of(path_ / "opt").st_mtime, kImageTime);
    EXPECT_EQ(status_of(path_ / "opt/a").st_mtime, kImageTime);
}

TEST_F(ARoot, FollowsItsLinksAsAGuestWould) {
    fs::create_directories(path_ / "usr/bin");
    fs::create_symlink("usr/bin", path_ / "bin");
    fs::create_symlink("/usr", path_ / "absolute");
    RootTree root(path_);
    root.write_file("/bin/program", "program", 0755);
    root.write_file("/absolute/bin/other", "other");
    EXPECT_EQ(content(path_ / "usr/bin/program"), "program");
    EXPECT_EQ(content(path_ / "usr/bin/other"), "other");
    EXPECT_TRUE(fs::is_symlink(path_ / "bin"));
}

TEST_F(ARoot, NeverLeadsOutOfItself) {
    fs::create_symlink(outside_, path_ / "etc");
    fs::create_symlink("../outside", path_ / "up");
    fs::create_symlink(outside_, path_ / "run");
    fs::create_directory(path_ / "var");
    fs::create_symlink(outside_ / "precious", path_ / "var/file");
    RootTree root(path_);
    EXPECT_NE(error_of([&] { root.write_file("/etc/precious", "mine"); }), "");
    EXPECT_NE(error_of([&] { root.make_directory("/up/a"); }), "");
    EXPECT_NE(error_of([&] { root.add(outside_, "/etc"); }), "");
    root.remove("/etc/precious");
    root.remove_files("/etc", "prec");
    root.make_mount_point("/run");
    root.write_file("/var/file", "mine");
    EXPECT_EQ(content(path_ / "var/file"), "mine");
    EXPECT_TRUE(fs::is_directory(fs::symlink_status(path_ / "run")));
    expect_outside_untouched();
}

TEST_F(ARoot, HasEmptyMountPointsWhateverWasThere) {
    fs::create_directories(path_ / "dev/pts");
    std::ofstream(path_ / "dev/null") << "no device";
    fs::create_directory_symlink(outside_, path_ / "dev/link");
    std::ofstream(path_ / "tmp") << "a file";
    RootTree root(path_);
    root.make_mount_point("/dev");
    root.make_mount_point("/tmp", 01777);
    root.make_mount_point("/proc");
    EXPECT_TRUE(fs::is_empty(path_ / "dev"));
    EXPECT_TRUE(fs::is_directory(path_ / "proc"));
    EXPECT_EQ(status_of(path_ / "tmp").st_mode & 07777U, 01777U);
    expect_outside_untouched();
}

TEST_F(ARoot, GetsDirectoriesWithWhatIsInThem) {
    const fs::path site = directory_.path() / "site";
    fs::create_directories(site / "pages/empty");
    std::ofstream(site / "index") << "index";
    std::ofstream(site / "pages/one") << "one";
    fs::permissions(site / "pages/one", fs::perms::owner_all);
    fs::create_symlink("one", site / "pages/two");
    fs::create_directory(path_ / "srv");
    std::ofstream(path_ / "srv/there") << "there";
    RootTree root(path_);
    root.add(site, "/srv");
    root.add(site / "pages/two", "/srv/copy");  // the one that was named is followed
    EXPECT_EQ(content(path_ / "srv/index"), "index");
    EXPECT_EQ(content(path_ / "srv/there"), "there");
    EXPECT_EQ(fs::read_symlink(path_ / "srv/pages/two"), "one");
    EXPECT_TRUE(fs::is_directory(path_ / "srv/pages/empty"));
    EXPECT_EQ(status_of(path_ / "srv/pages/one").st_mode & 07777U, 0700U);
    EXPECT_FALSE(fs::is_symlink(path_ / "srv/copy"));
    EXPECT_EQ(content(path_ / "srv/copy"), "one");
}

TEST_F(ARoot, TakesNoDevicesAndPipes) {
    const fs::path pipe = directory_.path() / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    RootTree root(path_);
    EXPECT_THAT(error_of([&] { root.add(pipe, "/pipe"); }), HasSubstr("pipe"));
    EXPECT_THAT(error_of([&] { root.add("/dev/zero", "/zero"); }), HasSubstr("/dev/zero"));
}

TEST_F(ARoot, OfPackagesShowsNothingOfItsHost) {
    fs::create_directories(path_ / "etc/ssh");
    fs::create_directories(path_ / "var/lib/dbus");
    for (const char* const file : {"etc/resolv.conf", "etc/hostname", "etc/machine-id", "etc/ssh/ssh_host_rsa_key",
                                   "etc/ssh/sshd_config", "var/lib/dbus/machine-id"}) {
        std::ofstream(path_ / file) << "the host's";
    }
    RootTree root(path_);
    change_root(root, {.packages = {"a"}});
    EXPECT_FALSE(root.has("/etc/resolv.conf"));
    EXPECT_EQ(content(path_ / "etc/hostname"), "guest\n");
    EXPECT_TRUE(root.has("/etc/machine-id"));
    EXPECT_EQ(content(path_ / "etc/machine-id"), "");
    EXPECT_FALSE(root.has("/etc/ssh/ssh_host_rsa_key"));
    EXPECT_TRUE(root.has("/etc/ssh/sshd_config"));
    EXPECT_FALSE(root.has("/var/lib/dbus/machine-id"));
    for (const char* const name : {"/dev", "/proc", "/run", "/sys", "/tmp"}) {
        EXPECT_TRUE(fs::is_empty(path_ / (name + 1))) << name;
    }
}

TEST_F(ARoot, OfATarStaysAsItIs) {
    fs::create_directories(path_ / "etc/ssh");
    std::ofstream(path_ / "etc/ssh/ssh_host_rsa_key") << "key";
    std::ofstream(path_ / "etc/hostname") << "web";
    RootTree root(path_);
    change_root(root, {.tar = "root.tar"});
    EXPECT_TRUE(root.has("/etc/ssh/ssh_host_rsa_key"));
    EXPECT_EQ(content(path_ / "etc/hostname"), "web");
    EXPECT_TRUE(root.has("/proc"));
}

TEST_F(ARoot, OfATarIsNeitherEmptyNorAContainersLayers) {
    RootTree root(path_);
    EXPECT_THAT(error_of([&] { change_root(root, {.tar = "root.tar"}); }), HasSubstr("empty"));
    std::ofstream(path_ / "manifest.json") << "{}";
    std::ofstream(path_ / "repositories") << "{}";
    EXPECT_THAT(error_of([&] { change_root(root, {.tar = "root.tar"}); }), HasSubstr("docker export"));
}

TEST_F(ARoot, UnderSystemdHasAConsoleAndKeepsQuiet) {
    fs::create_directories(path_ / "usr/lib/systemd/system");
    fs::create_directories(path_ / "usr/sbin");
    fs::create_symlink("usr/lib", path_ / "lib");
    fs::create_symlink("usr/sbin", path_ / "sbin");
    RootTree root(path_);
    const ImageRequest request{.packages = {"a"}, .systemd = true};
    EXPECT_THAT(error_of([&] { change_root(root, request); }), HasSubstr("/sbin/init"));
    fs::create_symlink("/lib/systemd/systemd", path_ / "usr/sbin/init");
    std::ofstream(path_ / "usr/lib/systemd/system/fstrim.timer") << "[Timer]\n";
    std::ofstream(path_ / "usr/lib/systemd/system/ssh.service") << "[Service]\n";
    change_root(root, request);
    EXPECT_THAT(content(path_ / "etc/systemd/system/serial-getty@hvc0.service.d/autologin.conf"), HasSubstr("agetty"));
    EXPECT_EQ(fs::read_symlink(path_ / "etc/systemd/system/fstrim.timer"), "/dev/null");
    EXPECT_FALSE(root.has("/etc/systemd/system/apt-daily.timer"));
    EXPECT_THAT(content(path_ / "etc/systemd/system/ssh.service.d/host-keys.conf"), HasSubstr("ssh-keygen"));
}

}  // namespace
}  // namespace understudy::tools
