// `understudy image`: a guest's root as one file, from Debian packages or a tar.
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.hpp"
#include "common/tell.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/stop_signals.hpp"
#include "tools/image/build_image.hpp"
#include "tools/output/json.hpp"
#include "tools/process/exit_status.hpp"

namespace understudy::tools {
namespace {

struct Options {
    ImageRequest request;
    std::vector<std::string> additions;
    std::string output;
    std::string build_in;
    bool no_cache = false;
    bool verbose = false;
    bool json = false;
};

// Everything that a build's commands say, or on a terminal what they are at.
void print_line(std::string_view line, bool verbose) {
    constexpr std::string_view kProgress = "I: ";
    if (verbose) {
        tell("{}\n", line);
    } else if (line.starts_with(kProgress) && ::isatty(STDERR_FILENO) == 1) {
        tell("image: {}\n", line.substr(kProgress.size()));
    }
}

std::string to_json(const Options& options, const BuiltImage& image, double seconds) {
    return fmt::format(R"({{"image":{},"bytes":{},"digest":"{}","packages":{},"from_cache":{},"seconds":{:.3f}}})",
                       json_string(options.output), image.digest.bytes, image.digest.text(), image.packages,
                       image.from_cache, seconds);
}

std::string to_text(const Options& options, const BuiltImage& image, double seconds) {
    const std::string packages = image.packages > 0 ? fmt::format(", {} packages", image.packages) : "";
    return fmt::format("{}: {:.1f} MB{}, digest {}, {} in {:.1f} s", options.output,
                       static_cast<double>(image.digest.bytes) / 1e6, packages, image.digest.text(),
                       image.from_cache ? "from the cache" : "built", seconds);
}

int say_interrupted() {
    tell("understudy: interrupted, nothing is left of the build\n");
    return kInterrupted;
}

bool is_readable(const FileDescriptor& descriptor) {
    pollfd waits{descriptor.get(), POLLIN, 0};
    return ::poll(&waits, 1, 0) == 1;
}

int build(const Options& options) {
    const FileDescriptor stop = stop_signals();
    const auto begin = std::chrono::steady_clock::now();
    const BuildOptions how{.use_cache = !options.no_cache, .stop = stop.get(), .on_line = [&](std::string_view line) {
                               print_line(line, options.verbose);
                           }};
    try {
        const BuiltImage image = build_image(options.request, options.output, how);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        fmt::print("{}\n", options.json ? to_json(options, image, seconds) : to_text(options, image, seconds));
        return kSuccess;
    } catch (const Interrupted&) {
        return say_interrupted();
    } catch (const Error&) {
        if (is_readable(stop)) {  // what was waited for was interrupted, too, and takes that for a failure
            return say_interrupted();
        }
        throw;
    }
}

// The same command in a user namespace, for the one that waits for it outside and dies with it.
int build_for_parent(const Options& options) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    build_image_in(options.build_in, options.request,
                   {.on_line = [](std::string_view line) { print_line(line, true); }});
    return kSuccess;
}

int run(Options options) {
    options.request.additions.clear();
    std::ranges::transform(options.additions, std::back_inserter(options.request.additions), parse_addition);
    if (!options.build_in.empty()) {
        return build_for_parent(options);
    }
    if (options.output.empty()) {
        throw CLI::RequiredError("--output");
    }
    return build(options);
}

}  // namespace

Command add_image(CLI::App& root) {
    CLI::App* app = root.add_subcommand("image", "A guest's root as one file, from Debian packages or a tar");
    const auto options = std::make_shared<Options>();
    ImageRequest& request = options->request;
    app->add_option("-p,--package", request.packages,
                    "A Debian package, with what it depends on; NAME=VERSION too. Once for each, or with commas")
        ->delimiter(',')
        ->type_name("NAME");
    app->add_option("--suite", request.suite,
                    "Take the packages from this Debian release, and not from this host's apt sources")
        ->type_name("NAME");
    app->add_option("--mirror", request.mirror, "Where the suite is; without it, Debian's own servers")
        ->type_name("URL");
    app->add_option("--debs", request.debs, "Packages of your own, which go before others of an older version")
        ->type_name("FOLDER");
    app->add_option("--from-tar", request.tar, "A root file system as a tar, compressed or not (docker export)")
        ->type_name("FILE");
    app->add_option("--add", options->additions,
                    "A file or directory of this host, and where it is in the image; owned by root there")
        ->type_name("HOST:GUEST");
    app->add_flag("--systemd", request.systemd,
                  "systemd is the first program, root is logged in on the console; the guest's command is then "
                  "/sbin/init");
    app->add_option("-o,--output", options->output, "The image; replaced when it is complete")->type_name("FILE");
    app->add_flag("--no-cache", options->no_cache, "Build even what was built before");
    app->add_flag("--verbose", options->verbose, "Show all that the commands of the build say");
    app->add_flag("--json", options->json, "Print one JSON object");
    app->add_option("--build-in", options->build_in)->group("");  // hidden: for the command itself
    app->footer(
        "The image is read-only; what a guest writes lies in its memory above it. Both hosts need the same file.\n"
        "Without root it is built in a user namespace (newuidmap, /etc/subuid).\n\n"
        "Examples:\n"
        "  understudy image --package redis-server -o redis.img\n"
        "  understudy image --systemd --package nginx -o web.img\n"
        "  understudy image --from-tar root.tar --add ./program:/usr/local/bin/ -o own.img");
    return {app, [options] { return run(*options); }};
}

}  // namespace understudy::tools
