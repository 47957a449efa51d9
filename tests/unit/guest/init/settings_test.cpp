#include "guest/init/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace understudy::init {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;

TEST(Settings, ComeFromNamesAndValues) {
    const Settings settings = parse_settings(
        "hostname=web\0image=/dev/vda\0upper=50\0address=10.0.2.15/24\0address=fd00::2/64\0gateway=10.0.2.2\0"
        "nameserver=10.0.2.3\0argument=sh\0argument=-c\0argument=a=b\nc\0environment=A=1=2\0"s);
    EXPECT_EQ(settings.hostname, "web");
    EXPECT_EQ(settings.image, "/dev/vda");
    EXPECT_EQ(settings.upper_percent, "50");
    EXPECT_THAT(settings.addresses, ElementsAre("10.0.2.15/24", "fd00::2/64"));
    EXPECT_THAT(settings.gateways, ElementsAre("10.0.2.2"));
    EXPECT_THAT(settings.nameservers, ElementsAre("10.0.2.3"));
    EXPECT_THAT(settings.arguments, ElementsAre("sh", "-c", "a=b\nc"));
    EXPECT_THAT(settings.environment, ElementsAre("A=1=2"));
}

TEST(Settings, OfANewerMonitorAreIgnoredAndWhatIsCutShortIsRead) {
    const Settings settings = parse_settings("new=1\0no value\0\0hostname=last"s);
    EXPECT_EQ(settings.hostname, "last");
    EXPECT_EQ(settings.image, "");
    EXPECT_TRUE(settings.arguments.empty());
}

}  // namespace
}  // namespace understudy::init
