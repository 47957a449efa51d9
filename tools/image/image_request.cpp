#include "tools/image/image_request.hpp"

#include <algorithm>
#include <regex>
#include <system_error>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

void check_package(const std::string& name) {
    static const std::regex pattern("[a-z0-9][a-z0-9+.-]*(:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+)?");
    if (!std::regex_match(name, pattern)) {
        throw Error::format("'{}' is no package's name (for example: redis-server, or redis-server=VERSION)", name);
    }
}

void check_suite(const ImageRequest& request) {
    static const std::regex suite("[a-z][a-z0-9-]*");
    static const std::regex mirror("[a-z][a-z0-9+]*://[^\\s]+");
    if (!request.suite.empty() && !std::regex_match(request.suite, suite)) {
        throw Error::format("'{}' is no suite (for example: bookworm)", request.suite);
    }
    if (!request.mirror.empty() && request.suite.empty()) {
        throw Error("a mirror needs a suite: give --suite too");
    }
    if (!request.mirror.empty() && !std::regex_match(request.mirror, mirror)) {
        throw Error::format("'{}' is no mirror (for example: http://deb.debian.org/debian)", request.mirror);
    }
}

void check_source(const ImageRequest& request) {
    const bool packages = !request.packages.empty() || (request.systemd && request.tar.empty());
    if (!packages && request.tar.empty()) {
        throw Error("an image of what? Give --package NAME, --systemd, or --from-tar FILE");
    }
    if (!request.tar.empty() && (!request.packages.empty() || !request.suite.empty() || !request.debs.empty())) {
        throw Error("a root from a tar takes no packages: give either --package, --debs and --suite, or --from-tar");
    }
    if (std::error_code ignored; !request.debs.empty() && !fs::is_regular_file(request.debs / "Packages", ignored)) {
        throw Error::format("{0} has no list of packages: (cd {0} && dpkg-scanpackages --multiversion . > Packages)",
                            request.debs.string());
    } else if (!request.debs.empty() && fs::canonical(request.debs).string().find(' ') != std::string::npos) {
        throw Error::format("{}: apt takes no folder with a space in its path", request.debs.string());
    }
    if (std::error_code ignored; !request.tar.empty() && !fs::is_regular_file(request.tar, ignored)) {
        throw Error::format("{} is no file that could be a tar", request.tar.string());
    }
}

}  // namespace

Addition parse_addition(std::string_view text) {
    const auto colon = text.rfind(":/");
    if (colon == std::string_view::npos || colon == 0) {
        throw Error::format("'{}' is not HOST:GUEST with an absolute GUEST (./program:/usr/local/bin/program)", text);
    }
    Addition addition{.host = fs::path(text.substr(0, colon)), .guest = std::string(text.substr(colon + 1))};
    if (addition.guest.ends_with('/')) {
        const fs::path name = fs::absolute(addition.host).lexically_normal();
        addition.guest += (name.has_filename() ? name : name.parent_path()).filename();
    }
    const fs::path guest(addition.guest);
    if (std::ranges::any_of(guest, [](const fs::path& part) { return part == "." || part == ".."; })) {
        throw Error::format("'{}': a path in the image has no . and ..", addition.guest);
    }
    addition.guest = guest.lexically_normal();
    if (addition.guest == "/") {
        throw Error::format("'{}': nothing can be added in place of the image's root", text);
    }
    return addition;
}

void check(const ImageRequest& request) {
    check_source(request);
    check_suite(request);
    std::ranges::for_each(request.packages, check_package);
    for (const Addition& addition : request.additions) {
        std::error_code error;
        if (const auto status = fs::status(addition.host, error); !fs::exists(status)) {
            throw Error::format("{} is not there and cannot be added to an image", addition.host.string());
        }
    }
}

}  // namespace understudy::tools
