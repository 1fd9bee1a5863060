using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Tools;
using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Tests.Service;

public sealed class ConfigurationTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("gemma4edge-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Read_TakesEveryKey()
    {
        Write("10.json", """
            {"Model":{"Path":"m.gguf","Context":512,"Threads":2,"Kernel":"scalar","Kv":"f32","Head":"two-stage","Activations":"float","Sessions":3,"System":"Be short."},
             "Mqtt":{"Broker":"mqtt://broker:1884","EmbeddedPort":1885,"Node":"bath","User":"u","ReplyPrefixes":["a/","b/"],"SessionExpirySeconds":7},
             "Queue":{"Capacity":2,"DefaultDeadlineSeconds":9},"Sampling":{"MaxTokens":5,"Temperature":0.5,"TopK":4,"TopP":0.9,"MinP":0.1,"Thinking":true},
             "Telemetry":{"IntervalSeconds":3}}
            """);
        ServiceOptions options = Read();
        Assert.Equal(new ModelOptions { Path = "m.gguf", Context = 512, Threads = 2, Kernel = "scalar", Kv = KvCacheFormat.F32, Head = HeadMode.TwoStage, Activations = ActivationFormat.Float, Sessions = 3, System = "Be short." }, options.Model);
        Assert.Equal(("bath", "u", 7), (options.Mqtt.Node, options.Mqtt.User, options.Mqtt.SessionExpirySeconds));
        Assert.Equal(new BrokerAddress("broker", 1884), options.Mqtt.Address);
        Assert.Equal(["a/", "b/"], options.Mqtt.ReplyPrefixes);
        Assert.Equal(new QueueOptions { Capacity = 2, DefaultDeadlineSeconds = 9 }, options.Queue);
        Assert.Equal(new SamplingDefaults { MaxTokens = 5, Temperature = 0.5f, TopK = 4, TopP = 0.9f, MinP = 0.1f, Thinking = true }, options.Sampling);
        Assert.Equal(3, options.Telemetry.IntervalSeconds);
    }

    [Fact]
    public void Load_LaterPlacesWin()
    {
        Write("10.json", """{"Model":{"Path":"file"},"Queue":{"Capacity":2,"DefaultDeadlineSeconds":2},"Sampling":{"MaxTokens":2}}""");
        Write("20.json", """{"Queue":{"DefaultDeadlineSeconds":3},"Sampling":{"MaxTokens":3}}""");
        Environment.SetEnvironmentVariable("GEMMA4EDGE__Sampling__MaxTokens", "4");
        try
        {
            ServiceOptions options = Read(("Model:Path", "line"), ("Mqtt:Broker", null));
            Assert.Equal(("line", 2, 3, 4, "embedded"), (options.Model.Path, options.Queue.Capacity, options.Queue.DefaultDeadlineSeconds, options.Sampling.MaxTokens, options.Mqtt.Broker));
        }
        finally
        {
            Environment.SetEnvironmentVariable("GEMMA4EDGE__Sampling__MaxTokens", null);
        }
    }

    [Fact]
    public void Read_TellsEveryKeyAndWhereItsValueCameFrom()
    {
        string first = Write("10.json", """{"Model":{"Path":"file"},"Mqtt":{"ReplyPrefixes":["a/","b/"],"Node":"one"},"Sampling":{"MaxTokens":2}}""");
        string second = Write("20.json", """{"Mqtt":{"Node":"two"}}""");
        Environment.SetEnvironmentVariable("GEMMA4EDGE__Telemetry__IntervalSeconds", "4");
        try
        {
            IReadOnlyList<OptionValue> values = Read(("Model:Path", "line")).Values;

            Assert.Equal(new OptionValue("Model:Path", "\"line\"", "command line"), Of("Model:Path"));
            Assert.Equal(new OptionValue("Telemetry:IntervalSeconds", "4", "environment GEMMA4EDGE__Telemetry__IntervalSeconds"), Of("Telemetry:IntervalSeconds"));
            Assert.Equal(new OptionValue("Mqtt:Node", "\"two\"", second), Of("Mqtt:Node"));
            Assert.Equal(new OptionValue("Mqtt:ReplyPrefixes", "[\"a/\", \"b/\"]", first), Of("Mqtt:ReplyPrefixes"));
            Assert.Equal(new OptionValue("Sampling:MaxTokens", "2", first), Of("Sampling:MaxTokens"));
            Assert.Equal(new OptionValue("Sampling:Temperature", null, "default"), Of("Sampling:Temperature"));
            Assert.Equal(new OptionValue("Model:SkipShared", "true", "default"), Of("Model:SkipShared"));

            OptionValue Of(string key) => Assert.Single(values, value => value.Key == key);
        }
        finally
        {
            Environment.SetEnvironmentVariable("GEMMA4EDGE__Telemetry__IntervalSeconds", null);
        }
    }

    [Fact]
    public void Load_TheWorkingFolderComesFirst()
    {
        string file = Write("10.json", """{"Model":{"Path":"file"}}""");
        string work = Directory.CreateDirectory(Path.Combine(_folder, "work")).FullName;
        string settings = Path.Combine(work, "appsettings.json");
        File.WriteAllText(settings, """{"Model":{"Path":"work","Threads":3}}""");

        IReadOnlyList<OptionValue> values = ServiceOptions.Read(ServiceConfiguration.Load(_folder, [], work)).Values;

        Assert.Contains(new OptionValue("Model:Path", "\"file\"", file), values);
        Assert.Contains(new OptionValue("Model:Threads", "3", settings), values);
    }

    [Fact]
    public void Read_AListOfALaterPlaceReplacesTheEarlierOne()
    {
        Write("10.json", """{"Model":{"Path":"m"},"Mqtt":{"ReplyPrefixes":["a/","b/"]}}""");
        Write("20.json", """{"Mqtt":{"ReplyPrefixes":["c/"]}}""");
        Assert.Equal(["c/"], Read().Mqtt.ReplyPrefixes);
        Write("20.json", """{"Mqtt":{"ReplyPrefixes":[]}}""");
        Assert.Empty(Read().Mqtt.ReplyPrefixes);
    }

    [Theory]
    [InlineData("""{"Mqtt":{"Password":"hunter2"}}""")]
    [InlineData("""{"Mqtt":{"Broker":"mqtt://u:hunter2@x"}}""")]
    [InlineData("""{"Mqtt":{"Broker":"mqtt://u:hunter2@"}}""")]
    public void Read_ShowsNoSecret(string json)
    {
        Write("10.json", json);
        string message = Assert.Throws<ConfigurationException>(() => Read(("Model:Path", "m"))).Message;
        Assert.Contains("********", message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_TakesAFileWithAByteOrderMark()
    {
        File.WriteAllText(Path.Combine(_folder, "10.json"), """{"Model":{"Path":"m"}}""", new UTF8Encoding(encoderShouldEmitUTF8Identifier: true));
        Assert.Equal("m", Read().Model.Path);
    }

    [Theory]
    [InlineData("""{"Mqtt":{"Brokr":"x"}}""", "Mqtt:Brokr", "Broker, CaFile")]
    [InlineData("""{"Mqtt":{"Brokr":{"a":{"b":1}}}}""", "Mqtt:Brokr", "no such key")]
    [InlineData("""{"Mqt":{"Broker":"x"}}""", "Mqt ", "Model, Mqtt, Queue")]
    [InlineData("""{"Mqtt":"x"}""", "Mqtt ", "an object")]
    [InlineData("""{"Mqtt":{"Broker":{"Host":"x"}}}""", "Mqtt:Broker", "embedded, mqtt://")]
    [InlineData("""{"Mqtt":{"Broker":"tls://x"}}""", "'tls://x'", "embedded, mqtt://")]
    [InlineData("""{"Mqtt":{"Broker":"mqtt://u:p@x"}}""", "Mqtt:Broker", "embedded, mqtt://")]
    [InlineData("""{"Mqtt":{"EmbeddedPort":70000}}""", "'70000'", "1 to 65535")]
    [InlineData("""{"Mqtt":{"Node":"a/b"}}""", "'a/b'", "1 to 64")]
    [InlineData("""{"Mqtt":{"Node":"fleet"}}""", "'fleet'", "not fleet or reply")]
    [InlineData("""{"Mqtt":{"ReplyPrefixes":["a/","b"]}}""", "Mqtt:ReplyPrefixes:1", "ends with /")]
    [InlineData("""{"Mqtt":{"ReplyPrefixes":["a/#/"]}}""", "Mqtt:ReplyPrefixes:0", "wildcard")]
    [InlineData("""{"Mqtt":{"PasswordFile":"/no/such"}}""", "Mqtt:PasswordFile", "a file")]
    [InlineData("""{"Model":{"Kernel":"mmx"}}""", "'mmx'", "scalar")]
    [InlineData("""{"Model":{"Kv":"q4"}}""", "'q4'", "one of auto, f32, f16, kv8, k8v4, k4v4, polar4, prod4")]
    [InlineData("""{"Model":{"Head":"half"}}""", "'half'", "one of auto, full, two-stage")]
    [InlineData("""{"Model":{"Activations":"int4"}}""", "'int4'", "one of auto, float, int8")]
    [InlineData("""{"Queue":{"Capacity":"many"}}""", "'many'", "1 to 1024")]
    [InlineData("""{"Sampling":{"Temperature":"NaN"}}""", "'NaN'", "0 to 10")]
    [InlineData("""{"Sampling":{"Temperature":"0,7"}}""", "'0,7'", "0 to 10")]
    [InlineData("""{"Sampling":{"Thinking":"maybe"}}""", "'maybe'", "true or false")]
    [InlineData("""{"Tools":{"Path":"/no/such"}}""", "Tools:Path", "folder")]
    [InlineData("""{"Tools":{"AllowTopics":["home/#/light"]}}""", "Tools:AllowTopics:0", "a topic filter")]
    [InlineData("""{"Tools":{"AllowTopics":"home/#"}}""", "Tools:AllowTopics", "a list")]
    [InlineData("""{"Tools":{"MaxRounds":0}}""", "Tools:MaxRounds", "from 1 to 32")]
    [InlineData("""{"Tools":{"TimeoutSeconds":60}}""", "Tools:TimeoutSeconds", "from 1 to 20")]
    [InlineData("""{"HomeAssistant":{"Enabled":"maybe"}}""", "HomeAssistant:Enabled", "true or false")]
    public void Read_NamesTheKeyItsValueAndWhatIsAllowed(string json, string named, string allowed)
    {
        string file = Write("10.json", json);
        string message = Assert.Throws<ConfigurationException>(() => Read(("Model:Path", "m"))).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(allowed, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"CaFile":"EMPTY","Broker":"mqtts://b"}""", "Mqtt:CaFile is 'EMPTY': it holds no certificate")]
    [InlineData("""{"CaFile":"TEXT","Broker":"mqtts://b"}""", "Mqtt:CaFile is 'TEXT': it holds no certificate")]
    [InlineData("""{"CaFile":"CERT","Broker":"mqtt://b"}""", "Mqtt:CaFile is 'CERT', but the broker mqtt://b:1883 is reached without TLS")]
    [InlineData("""{"ClientCertificateFile":"TEXT","Broker":"mqtts://b"}""", "Mqtt:ClientCertificateFile is 'TEXT'")]
    [InlineData("""{"ClientCertificateFile":"CERT","Broker":"mqtts://b"}""", "Mqtt:ClientCertificateFile is 'CERT': ")]
    [InlineData("""{"ClientCertificateFile":"CERT","ClientKeyFile":"OTHERKEY","Broker":"mqtts://b"}""", "Mqtt:ClientKeyFile is 'OTHERKEY': ")]
    [InlineData("""{"ClientCertificateFile":"CERT","ClientKeyFile":"TEXT","Broker":"mqtts://b"}""", "the unencrypted PEM key of the certificate in CERT")]
    [InlineData("""{"ClientKeyFile":"KEY","Broker":"mqtts://b"}""", "Mqtt:ClientKeyFile is 'KEY', but there is no certificate to it")]
    [InlineData("""{"PasswordFile":"EMPTY","Broker":"mqtt://b"}""", "Mqtt:PasswordFile is 'EMPTY': its first line is empty")]
    [InlineData("""{"Pools":["home"]}""", "Mqtt:Pools is 'home', but a pool needs a broker")]
    [InlineData("""{"Pools":["a/b"],"Broker":"mqtt://b"}""", "Mqtt:Pools:0")]
    [InlineData("""{"EmbeddedAddress":"0.0.0.0"}""", "Mqtt:EmbeddedAddress is '0.0.0.0', where others")]
    [InlineData("""{"EmbeddedAddress":"0.0.0.0","User":"u"}""", "that needs Mqtt:PasswordFile")]
    public void Credentials_AreCheckedAtTheStart(string mqtt, string problem)
    {
        using X509Certificate2 certificate = GuardedMosquitto.MakeCa("a");
        using ECDsa other = ECDsa.Create();
        Dictionary<string, string> files = new()
        {
            ["EMPTY"] = "",
            ["TEXT"] = "hello",
            ["CERT"] = certificate.ExportCertificatePem(),
            ["OTHERKEY"] = other.ExportPkcs8PrivateKeyPem(),
            ["KEY"] = certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem(),
        };
        foreach ((string name, string text) in files)
        {
            string file = Write($"{name.ToLowerInvariant()}.pem", text);
            (mqtt, problem) = (mqtt.Replace($"\"{name}\"", $"\"{file}\"", StringComparison.Ordinal), problem.Replace($"'{name}'", $"'{file}'", StringComparison.Ordinal).Replace($"in {name}", $"in {file}", StringComparison.Ordinal));
        }

        Write("10.json", $$"""{"Model":{"Path":"m"},"Mqtt":{{mqtt}}}""");
        Assert.Contains(problem, Assert.Throws<ConfigurationException>(() => Read()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"CriticalCelsius":70}""", "Model:HotCelsius is 80 and Model:CriticalCelsius is 70")]
    [InlineData("""{"HotCelsius":60.5,"CriticalCelsius":60.5}""", "Model:HotCelsius is 60.5 and Model:CriticalCelsius is 60.5")]
    public void HotIsBelowCritical(string model, string problem)
    {
        Write("10.json", $$"""{"Model":{{model}}}""");
        Assert.Contains(problem, Assert.Throws<ConfigurationException>(() => Read(("Model:Path", "m"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SystemdCredential_IsThePassword_AndTheNodeTheUser()
    {
        string file = Write("mqtt-password", "secret\n");
        Write("10.json", """{"Model":{"Path":"m"},"Mqtt":{"Node":"bath","Broker":"mqtts://b"}}""");
        Dictionary<string, OptionValue> values = [];
        var reader = new OptionReader(ServiceConfiguration.Load(_folder, []), "Mqtt", values);
        MqttOptions mqtt = MqttOptions.Read(reader, _folder);
        Assert.Equal(("bath", file, new BrokerAddress("b", 8883, true)), (mqtt.User, mqtt.PasswordFile, mqtt.Address));
        Assert.Equal(($"\"{file}\"", "systemd credential"), (values["Mqtt:PasswordFile"].Json, values["Mqtt:PasswordFile"].Source));
        Assert.Null(MqttOptions.Read(reader, null).User);
    }

    [Fact]
    public void SystemdStateDirectory_IsShown_WhereItWins()
    {
        Write("10.json", """{"Model":{"Path":"m"},"Store":{"State":"/srv/other"}}""");
        Dictionary<string, OptionValue> values = [];
        var reader = new OptionReader(ServiceConfiguration.Load(_folder, []), "Store", values);
        Assert.Equal("/var/lib/a", StoreOptions.Read(reader, "/var/lib/a:/var/lib/b").State);
        Assert.Equal(("\"/var/lib/a\"", "systemd STATE_DIRECTORY"), (values["Store:State"].Json, values["Store:State"].Source));
    }

    [Theory]
    [InlineData("HotCelsius", "80")]
    [InlineData("CriticalCelsius", "90")]
    [InlineData("MostMemoryPressure", "40")]
    public void DefaultNumbers_AreShown(string key, string value)
    {
        Write("10.json", """{"Model":{"Path":"m"}}""");
        Assert.Equal(new OptionValue($"Model:{key}", value, "default"), Read().Values.Single(shown => shown.Key == $"Model:{key}"));
    }

    [Fact]
    public void Load_RefusesWhatIsNotThere_OrNotJson()
    {
        Assert.Contains("/no/such", Assert.Throws<ConfigurationException>(() => ServiceConfiguration.Load("/no/such", [])).Message, StringComparison.Ordinal);
        File.CreateSymbolicLink(Path.Combine(_folder, "30.json"), "/no/such/file");
        Assert.Contains("30.json: the configuration file cannot be read", Assert.Throws<ConfigurationException>(() => Read()).Message, StringComparison.Ordinal);
        File.Delete(Path.Combine(_folder, "30.json"));
        foreach (string wrong in (string[])["[1]", """{"Model":{"Path":"a","path":"b"}}""", """{"Model":{"P\ud800":"x"}}""", "{"])
        {
            Assert.Contains(Write("10.json", wrong), Assert.Throws<ConfigurationException>(() => Read()).Message, StringComparison.Ordinal);
        }

        string file = Write("10.json", "{");
        Assert.Contains(file, Assert.Throws<ConfigurationException>(() => Read()).Message, StringComparison.Ordinal);
        Write("10.json", "{}");
        Assert.Contains("Model:Path", Assert.Throws<ConfigurationException>(() => Read()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("kitchen-pi", "kitchen-pi")]
    [InlineData("Kü.che", "K--che")]
    [InlineData("fleet", "node")]
    [InlineData("", "node")]
    public void Node_IsMadeFromAnyHostName(string host, string node) => Assert.Equal(node, MqttOptions.NodeOf(host));

    [Fact]
    public void Tools_AreReadFromAFolder()
    {
        Assert.Equal(8, ToolFiles.Load(Path.Combine(TestData.DemoModel, "tools")).Count);
        Assert.Equal("b", ToolFiles.Load(Write("list.json", """[{"name":"a"},{"type":"function","function":{"name":"b"}}]"""))[1].Name);
    }

    [Theory]
    [InlineData("""{"name":"a","actions":{"publish":"x"}}""", "'actions'")]
    [InlineData("""{"description":"x"}""", "name")]
    [InlineData("""{"name":"a","parameters":[]}""", "parameters")]
    [InlineData("""[{"name":"a"},{"name":"a"}]""", "twice")]
    [InlineData("{", "tool.json")]
    [InlineData("5", "tool.json")]
    [InlineData("""{"name":"a","\ud800":1}""", "tool.json")]
    public void Tools_WhatIsNoDeclarationIsRefused(string json, string named)
    {
        string file = Write("tool.json", json);
        Assert.Contains(named, Assert.Throws<ConfigurationException>(() => ToolFiles.Load(file)).Message, StringComparison.Ordinal);
    }

    private string Write(string name, string json)
    {
        string file = Path.Combine(_folder, name);
        File.WriteAllText(file, json);
        return file;
    }

    private ServiceOptions Read(params (string Key, string? Value)[] overrides) =>
        ServiceOptions.Read(Load(overrides));

    private IConfigurationRoot Load((string Key, string? Value)[] overrides) =>
        ServiceConfiguration.Load(_folder, overrides.Select(pair => KeyValuePair.Create(pair.Key, pair.Value)));
}
