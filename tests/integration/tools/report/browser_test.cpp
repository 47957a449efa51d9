// The page in a browser, headless: it is drawn, light and dark, and every plot has its place on it.
#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/report/sample_report.hpp"
#include "tools/process/run.hpp"

namespace understudy::report {
namespace {

using testing::sample_report;

constexpr int kWidth = 1280;
constexpr int kHeight = 1700;

struct Picture {
    int width = 0;
    int height = 0;
    std::vector<std::uint32_t> pixels;  // 0xRRGGBB

    [[nodiscard]] double brightness() const {
        double sum = 0;
        for (const std::uint32_t pixel : pixels) {
            sum += ((pixel >> 16U) & 255U) + ((pixel >> 8U) & 255U) + (pixel & 255U);
        }
        return pixels.empty() ? 0 : sum / (3 * 255.0 * static_cast<double>(pixels.size()));
    }
    [[nodiscard]] std::map<std::uint32_t, std::size_t> colours() const {
        std::map<std::uint32_t, std::size_t> counts;
        for (const std::uint32_t pixel : pixels) {
            ++counts[pixel];
        }
        return counts;
    }
};

Picture read_png(const std::string& file) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_file(&image, file.c_str()) == 0) {
        ADD_FAILURE() << file << ": " << image.message;
        return {};
    }
    image.format = PNG_FORMAT_RGB;
    std::vector<std::uint8_t> bytes(PNG_IMAGE_SIZE(image));
    if (png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr) == 0) {
        ADD_FAILURE() << file << ": " << image.message;
    }
    Picture picture{static_cast<int>(image.width), static_cast<int>(image.height), {}};
    for (std::size_t i = 0; i + 2 < bytes.size(); i += 3) {
        picture.pixels.push_back(std::uint32_t{bytes[i]} << 16U | std::uint32_t{bytes[i + 1]} << 8U | bytes[i + 2]);
    }
    return picture;
}

class ReportPage : public ::testing::Test {
  protected:
    void SetUp() override {
        if (tools::run_to_end({"sh", "-c", "command -v chromium"}).exit_status != 0) {
            GTEST_SKIP() << "NOBODY LOOKED AT THE PAGE: there is no chromium (apt-get install chromium)";
        }
        std::ofstream(page()) << to_html(sample_report());
    }

    [[nodiscard]] std::string page() const { return (directory_.path() / "report.html").string(); }

    // What chromium says; each call has a profile of its own.
    tools::Finished browse(std::vector<std::string> options) {
        const auto profile = directory_.path() / ("profile" + std::to_string(++profiles_));
        std::vector<std::string> command{"chromium",
                                         "--headless",
                                         "--no-sandbox",
                                         "--disable-gpu",
                                         "--disable-quic",
                                         "--no-first-run",
                                         "--disable-background-networking",
                                         "--disable-component-update",
                                         "--disable-sync",
                                         "--hide-scrollbars",
                                         "--user-data-dir=" + profile.string(),
                                         "--window-size=" + std::to_string(kWidth) + "," + std::to_string(kHeight)};
        command.insert(command.end(), options.begin(), options.end());
        command.push_back("file://" + page());
        return tools::run_to_end({.command = command}, std::chrono::minutes(3));
    }

    Picture screenshot(const std::string& name, const std::vector<std::string>& options) {
        const std::string file = (directory_.path() / name).string();
        auto all = options;
        all.push_back("--screenshot=" + file);
        const auto done = browse(all);
        EXPECT_EQ(done.exit_status, 0) << done.errors;
        if (const char* keep = std::getenv("UNDERSTUDY_KEEP_SCREENSHOTS")) {
            std::filesystem::copy_file(file, std::filesystem::path(keep) / name,
                                       std::filesystem::copy_options::overwrite_existing);
        }
        return read_png(file);
    }

    TemporaryDirectory directory_{"understudy-page"};
    int profiles_ = 0;
};

TEST_F(ReportPage, IsDrawnLightAndDark) {
    const Picture light = screenshot("light.png", {});
    const Picture dark = screenshot("dark.png", {"--blink-settings=preferredColorScheme=0"});
    ASSERT_EQ(light.width, kWidth);
    ASSERT_EQ(dark.pixels.size(), light.pixels.size());
    EXPECT_GT(light.brightness(), 0.8);
    EXPECT_LT(dark.brightness(), 0.3);
    EXPECT_GT(dark.brightness(), 0.02);
    // The colours of plots, each over an area: grey, blue, orange, green of the stylesheet.
    const auto in_light = light.colours();
    for (const std::uint32_t colour : {0x8a97a8U, 0x1f6febU, 0xd9822bU, 0x0f9d7aU}) {
        const auto found = in_light.find(colour);
        EXPECT_GT(found == in_light.end() ? 0 : found->second, 100U) << std::hex << colour;
    }
    const auto in_dark = dark.colours();
    for (const std::uint32_t colour : {0x7a8798U, 0x5b9dffU, 0xf0a455U, 0x3ec9a3U}) {
        const auto found = in_dark.find(colour);
        EXPECT_GT(found == in_dark.end() ? 0 : found->second, 100U) << std::hex << colour;
    }
}

// A script of the test's own asks the browser where things came to lie.
TEST_F(ReportPage, HasEveryPlotAndRowInItsPlace) {
    std::ofstream(page(), std::ios::app) << R"(<script>
const shown = [...document.querySelectorAll('figure svg')].filter(s => s.getBBox().width > 300 && s.clientHeight > 50);
const inside = [...document.querySelectorAll('svg rect, svg circle, svg path, svg text')].filter(e => {
  const a = e.getBoundingClientRect(), b = e.ownerSVGElement.getBoundingClientRect();
  return a.left < b.left - 2 || a.right > b.right + 2 || a.top < b.top - 2 || a.bottom > b.bottom + 2; });
const loaded = performance.getEntriesByType('resource').length;
const wide = document.documentElement.scrollWidth > window.innerWidth;
document.body.dataset.found = [shown.length, inside.length, loaded, wide].join(' ');
document.body.dataset.outside = inside.slice(0, 5).map(e => e.outerHTML).join(' ');
</script>)";
    const auto done = browse({"--dump-dom"});
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    const std::size_t plots = sample_report().sections[0].plots.size() + sample_report().sections[1].plots.size();
    const std::string found = "data-found=\"" + std::to_string(plots) + " 0 0 false\"";
    EXPECT_NE(done.output.find(found), std::string::npos) << done.output.substr(done.output.find("<body"), 900);
    EXPECT_NE(done.output.find("redis SET, 50 clients"), std::string::npos);
    EXPECT_NE(done.output.find("not measured: needs root"), std::string::npos);
}

}  // namespace
}  // namespace understudy::report
