// Roots of Debian packages: what apt would install, and what mmdebstrap is to be called with.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tools/image/image_request.hpp"

namespace understudy::tools {

// The files below `etc` (/etc/apt) that say where packages come from. Throws understudy::Error when there is none.
[[nodiscard]] std::vector<std::filesystem::path> apt_sources(const std::filesystem::path& etc = "/etc/apt");

// Everything that is asked for by name: the request's packages, and what systemd needs where the request wants it.
[[nodiscard]] std::vector<std::string> named_packages(const ImageRequest& request);

// "redis-server 5:7.0.15-1 amd64", sorted: what `apt-get --simulate install` says that it would install.
[[nodiscard]] std::vector<std::string> parse_simulation(std::string_view output);

// What would be installed into an empty root, by the lists that this host's apt has. Needs neither root nor network.
// Of a request that names a suite, or brings packages, this host's apt knows nothing: empty. Throws understudy::Error,
// for a package that does not exist for one.
[[nodiscard]] std::vector<std::string> plan_packages(const ImageRequest& request);

// Changes whenever plan_packages() could answer something else: the request's packages, and apt's lists and settings.
[[nodiscard]] std::string plan_key(const ImageRequest& request);

// The command that writes the packages' root to a tar. To be run as root, real or of a user namespace; fetches from the
// network.
[[nodiscard]] std::vector<std::string> bootstrap_command(const ImageRequest& request, const std::filesystem::path& tar);

}  // namespace understudy::tools
