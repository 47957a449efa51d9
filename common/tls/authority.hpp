// The site's certificate authority, as files: what `understudy init` makes.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "common/tls/identity.hpp"

namespace understudy::tls {

constexpr std::chrono::hours kTenYears{10 * 365 * 24};

// Writes a new authority (ca.pem, ca.key) and a certificate with its key (<name>.pem, <name>.key) for each holder into
// `directory`. An authority that is there is used, and only missing certificates are added. Returns the names of the
// files written. None is valid for longer than its authority, which is so for thirty years, or for `validity` where that
// is more. Throws understudy::Error, also where a certificate that is there says another identity.
std::vector<std::string> make_certificates(const std::filesystem::path& directory, const std::vector<Identity>& holders,
                                           std::chrono::seconds validity = kTenYears);

}  // namespace understudy::tls
