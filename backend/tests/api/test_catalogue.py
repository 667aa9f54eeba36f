"""The catalogue over HTTP."""

from fastapi.testclient import TestClient


def test_frameworks_are_listed_with_tasks_models_and_parameters(client: TestClient) -> None:
    listed = client.get("/api/v1/frameworks").json()
    assert listed["problems"] == []
    [ultralytics] = [item for item in listed["items"] if item["name"] == "ultralytics"]
    detection = ultralytics["tasks"]["object_detection"]
    assert "yolo11n" in [model["name"] for model in detection["models"]]
    assert detection["defaults"]["epochs"] >= 1
    assert ultralytics["hyperparameters"]["type"] == "object"
    assert client.get("/api/v1/frameworks/ultralytics").json() == ultralytics


def test_framework_is_not_found_if_nobody_offers_it(client: TestClient) -> None:
    answer = client.get("/api/v1/frameworks/darknet")
    assert answer.status_code == 404
    assert "known are timm, ultralytics" in answer.json()["error"]["message"]


def test_models_are_found_by_words_and_recommended_ones_come_first(client: TestClient) -> None:
    query: dict[str, str | int] = {"task_type": "image_classification", "limit": 3}
    first = client.get("/api/v1/frameworks/timm/models", params=query).json()
    assert first["total"] > 1000 and [model["recommended"] for model in first["items"]] == [True] * 3
    found = client.get("/api/v1/frameworks/timm/models", params={**query, "search": "convnextv2 tiny"}).json()
    [tiny] = found["items"]
    assert tiny["name"] == "convnextv2_tiny" and "fcmae_ft_in22k_in1k" in tiny["non_commercial"]
    assert tiny["pretrained"]["fcmae_ft_in22k_in1k"] == "cc-by-nc-4.0"


def test_models_are_not_found_if_the_framework_does_not_do_the_task(client: TestClient) -> None:
    answer = client.get("/api/v1/frameworks/timm/models", params={"task_type": "pose_estimation"})
    assert answer.status_code == 404
