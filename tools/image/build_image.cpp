#include "tools/image/build_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "common/error.hpp"
#include "tools/image/debian.hpp"
#include "tools/image/image_cache.hpp"
#include "tools/image/pending_file.hpp"
#include "tools/image/root_changes.hpp"
#include "tools/image/root_tree.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

// Becomes another when a build makes something else of the same request: then no older image fits.
constexpr std::string_view kBuildVersion = "1";
// The same of every image: a guest names its disk by the device.
constexpr const char* kFileSystemId = "4f6e6520-696d-4167-a520-74776f686f73";

bool is_root() {
    return ::geteuid() == 0;
}

// Debian keeps some programs that mmdebstrap calls out of the path of who is not root.
std::vector<std::string> build_environment(const fs::path& directory) {
    const char* const path = std::getenv("PATH");
    return {"LC_ALL=C", "SOURCE_DATE_EPOCH=" + std::to_string(kImageTime), "TMPDIR=" + directory.string(),
            fmt::format("PATH={}:/usr/sbin:/sbin", path == nullptr ? "/usr/bin:/bin" : path)};
}

// This user is root in it, and has the users that /etc/subuid grants.
std::vector<std::string> in_user_namespace(std::vector<std::string> command) {
    command.insert(command.begin(), {"unshare", "--map-root-user", "--map-auto", "--"});
    return command;
}

void require_user_namespace() {
    require_program("newuidmap", "uidmap");
    const Finished probe = run_to_end(in_user_namespace({"true"}));
    if (probe.exit_status != 0) {
        throw Error::format(
            "cannot make a user namespace ({}): run this as root, or permit it as root: usermod "
            "--add-subuids 100000-165535 --add-subgids 100000-165535 $USER",
            probe.errors.substr(0, probe.errors.find('\n')));
    }
}

void require_programs(const ImageRequest& request) {
    require_program("mkfs.erofs", "erofs-utils");
    require_program("tar", "tar");
    if (request.tar.empty()) {
        require_program("mmdebstrap", "mmdebstrap");
    }
    if (!is_root()) {
        require_user_namespace();
    }
}

// A killed build's processes may still be ending.
void remove_directory(const fs::path& directory) {
    constexpr int kTries = 50;
    std::error_code error;
    for (int tries = 0; tries < kTries; ++tries) {
        fs::remove_all(directory, error);
        if (!error) {
            return;
        }
        if (!is_root()) {
            static_cast<void>(run_to_end(in_user_namespace({"rm", "-rf", directory})));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(words, [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

[[noreturn]] void fail(std::string_view what, const fs::path& directory, const StepResult& result) {
    const std::string said = complaint_of(result);
    if (std::ranges::any_of(result.last_lines,
                            [](const auto& line) { return contains_any(line, {"No space left on device"}); })) {
        throw Error::format(
            "cannot {}: the disk of {} is full; free some of it, or set XDG_CACHE_HOME to a directory "
            "on another",
            what, directory.parent_path().string());
    }
    if (contains_any(said, {"Failed to fetch", "Could not resolve", "Temporary failure", "Could not connect",
                            "did not find any indices"})) {
        throw Error::format(
            "cannot {}: the packages cannot be fetched ({}); see that this host reaches the servers "
            "that apt's sources name",
            what, said);
    }
    throw Error::format("cannot {}: {} (--verbose shows all)", what, said);
}

struct Build {
    const fs::path& directory;
    const BuildOptions& options;

    void run(std::string_view what, std::vector<std::string> command) const {
        options.on_line(fmt::format("I: {}", what));
        const ProcessConfig config{.command = std::move(command), .environment = build_environment(directory)};
        const StepResult result = run_step(config, options.stop, options.on_line);
        if (result.exit_status != 0) {
            fail(what, directory, result);
        }
    }
};

// In namespaces of its own: its mounts are nobody else's, and when it is killed so is every process below it.
std::vector<std::string> contained(std::vector<std::string> command) {
    command.insert(command.begin(), {"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"});
    return command;
}

// Without the devices, which a guest has from its kernel and which a user namespace cannot make.
std::vector<std::string> unpack_command(const fs::path& tar, const fs::path& root) {
    return {"tar",
            "--extract",
            "--file",
            tar,
            "--directory",
            root,
            "--force-local",  // a name with a colon is no host
            "--numeric-owner",
            "--same-owner",
            "--same-permissions",
            "--xattrs",
            "--xattrs-include=*",
            "--anchored",
            "--exclude=dev/*",
            "--exclude=./dev/*"};
}

// LZ4 in clusters of 64 KiB: 0.57 of the size without, for as much time, and with half as many requests to the disk,
// each of which costs the guest a stop. LZ4HC would save a tenth more and take nine times as long.
std::vector<std::string> pack_command(const fs::path& root, const fs::path& image) {
    return {"mkfs.erofs",
            "--quiet",
            "-zlz4",
            "-C65536",
            fmt::format("-T{}", kImageTime),
            "--preserve-mtime",
            fmt::format("-U{}", kFileSystemId),
            image,
            root};
}

void build_in_namespace(const fs::path& directory, const ImageRequest& request, const BuildOptions& options) {
    std::vector<std::string> command = {fs::read_symlink("/proc/self/exe"), "image", "--build-in", directory};
    const auto arguments = arguments_for(request);
    command.insert(command.end(), arguments.begin(), arguments.end());
    const StepResult result =
        run_step({.command = in_user_namespace(std::move(command))}, options.stop, options.on_line);
    if (result.exit_status != 0) {
        std::string said = result.last_lines.empty() ? "it was killed" : result.last_lines.back();
        throw Error(said.substr(said.starts_with("understudy: ") ? std::string_view("understudy: ").size() : 0));
    }
}

// The image's digest, and the image in its place.
BuiltImage deliver(const FileDescriptor& image, PendingFile& pending, const fs::path& output) {
    BuiltImage built{.digest = digest_file(image, output)};
    pending.copy(image);
    pending.commit();
    return built;
}

FileDescriptor open_image(const fs::path& path) {
    FileDescriptor image(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!image) {
        throw Error::from_errno("cannot open " + path.string(), errno);
    }
    return image;
}

// One line for each file of an addition.
std::string describe(const Addition& addition) {
    const auto line = [&](const fs::path& file, const fs::file_status& status) {
        std::string what;
        if (fs::is_regular_file(status)) {
            what = digest_file(file).text();
        } else if (fs::is_symlink(status)) {
            what = fs::read_symlink(file);
        }
        return fmt::format("{} {} {:o} {}", file.lexically_relative(addition.host).string(),
                           static_cast<int>(status.type()), static_cast<unsigned>(status.permissions()), what);
    };
    const auto top = fs::status(addition.host);
    std::vector<std::string> lines = {line(addition.host, top)};
    if (fs::is_directory(top)) {
        for (const auto& entry : fs::recursive_directory_iterator(addition.host)) {
            lines.push_back(line(entry.path(), entry.symlink_status()));
        }
    }
    std::ranges::sort(lines);
    return fmt::format("add {}\n{}\n", addition.guest, fmt::join(lines, "\n"));
}

// apt takes a second or more for it.
std::vector<std::string> plan_once(const ImageRequest& request, const ImageCache& cache) {
    if (!request.tar.empty()) {
        return {};
    }
    const std::string key = plan_key(request);
    if (const auto note = cache.find_note(key)) {
        std::vector<std::string> plan;
        std::istringstream lines(*note);
        for (std::string line; std::getline(lines, line);) {
            plan.push_back(line);
        }
        return plan;
    }
    auto plan = plan_packages(request);
    cache.store_note(key, fmt::format("{}", fmt::join(plan, "\n")));
    return plan;
}

// Folders that nothing else decides about are the same, whoever builds.
class CommonUmask {
  public:
    CommonUmask() : before_(::umask(022)) {}
    ~CommonUmask() { ::umask(before_); }
    CommonUmask(const CommonUmask&) = delete;
    CommonUmask& operator=(const CommonUmask&) = delete;

  private:
    mode_t before_;
};

}  // namespace

fs::path image_in(const fs::path& directory) {
    return directory / "image";
}

std::string content_key(const ImageRequest& request, const std::vector<std::string>& plan) {
    std::string text = fmt::format("build {}\nsystemd {}\n", kBuildVersion, request.systemd);
    if (request.tar.empty()) {
        text += fmt::format("suite {}\nmirror {}\nnamed {}\n{}\n", request.suite, request.mirror,
                            fmt::join(named_packages(request), " "), fmt::join(plan, "\n"));
    } else {
        text += fmt::format("tar {}\n", digest_file(request.tar).text());
    }
    if (!request.debs.empty()) {
        text += describe({.host = request.debs, .guest = "debs"});
    }
    for (const Addition& addition : request.additions) {
        text += describe(addition);
    }
    return key_of(text);
}

std::vector<std::string> arguments_for(const ImageRequest& request) {
    std::vector<std::string> arguments;
    const auto add = [&](const char* option, const std::string& value) {
        if (!value.empty()) {
            arguments.push_back(fmt::format("{}={}", option, value));
        }
    };
    std::ranges::for_each(request.packages, [&](const std::string& package) { add("--package", package); });
    add("--suite", request.suite);
    add("--mirror", request.mirror);
    add("--debs", request.debs);
    add("--from-tar", request.tar);
    for (const Addition& addition : request.additions) {
        add("--add", fmt::format("{}:{}", addition.host.string(), addition.guest));
    }
    if (request.systemd) {
        arguments.emplace_back("--systemd");
    }
    return arguments;
}

void build_image_in(const fs::path& directory, const ImageRequest& request, const BuildOptions& options) {
    const Build build{.directory = directory, .options = options};
    const fs::path root = directory / "root";
    const CommonUmask umask;
    fs::create_directory(root);
    fs::path tar = request.tar;
    if (tar.empty()) {
        tar = directory / "root.tar";
        build.run("bring the packages together", contained(bootstrap_command(request, tar)));
    }
    build.run("unpack the root", unpack_command(tar, root));
    if (request.tar.empty()) {
        fs::remove(tar);
    }
    RootTree tree(root);
    change_root(tree, request);
    build.run("make the file system", pack_command(root, image_in(directory)));
}

BuiltImage build_image(const ImageRequest& request, const fs::path& output, const BuildOptions& options) {
    check(request);
    PendingFile pending(output);
    const ImageCache cache(ImageCache::default_directory(), remove_directory);
    const auto plan = plan_once(request, cache);
    const std::string key = content_key(request, plan);
    if (const auto image = options.use_cache ? cache.find(key) : std::nullopt) {
        BuiltImage built = deliver(*image, pending, output);
        built.packages = plan.size();
        built.from_cache = true;
        return built;
    }
    require_programs(request);
    const WorkDirectory work = cache.make_work_directory();
    if (is_root()) {
        build_image_in(work.path(), request, options);
    } else {
        build_in_namespace(work.path(), request, options);
    }
    const FileDescriptor image = open_image(image_in(work.path()));
    cache.store(key, image_in(work.path()));
    BuiltImage built = deliver(image, pending, output);
    built.packages = plan.size();
    return built;
}

}  // namespace understudy::tools
