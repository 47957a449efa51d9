#pragma once

#include <filesystem>
#include <functional>

#include "tools/bench/linux_image.hpp"
#include "tools/bench/site.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

// Measures guests with Debian's redis-server, of `image` or of one that is built, on a Lan. Where none can be had, the
// section's only row says so.
void on_lan(report::Section& section, const std::filesystem::path& image,
            const std::function<void(Site&, const BenchImage&)>& measure);

}  // namespace understudy::tools
